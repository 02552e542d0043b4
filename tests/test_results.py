"""The stored results are whole, hold numbers only, and the pages made from them are theirs."""

import shutil
import sys
from pathlib import Path

import pandas as pd
import pytest

from ferhelpers import evaluation
from ferhelpers.files import write_json
from ferhelpers.runs import FORMAT, Run
from ferhelpers.store import Results, Store

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "results"))
import convert  # noqa: E402
import draws  # noqa: E402
import summary  # noqa: E402


@pytest.mark.parametrize(
    "name, text", [("answer", "answer"), ("findings", "findings"), ("results", "results_page"), ("card", "card")]
)
def test_pages_show_the_stored_results(name, text):
    assert f"<!-- {name} -->\n{getattr(summary, text)()}\n<!-- end of {name} -->" in summary.PAGES[name].read_text()


def test_runs_of_an_older_format_are_removed_and_older_names_converted(tmp_path):
    store, stored = Store(tmp_path), summary.trained("full", summary.readings)["blocks_1_earlier"][0]
    older = {"format": FORMAT - 1}, {"key": "other", "command": stored.config["command"].replace("_earlier", "")}
    for number, change in enumerate(older):
        folder = tmp_path / f"older{number}"
        shutil.copytree(stored.folder, folder, ignore=shutil.ignore_patterns("model.keras"))
        write_json(folder / "config.json", stored.config | change)
        Store.seal(folder)
    convert.convert(store)
    (folder,) = tmp_path.iterdir()
    assert folder.name == stored.folder.name and Run(folder).config == stored.config
    assert "--networks blocks_1_earlier " in stored.config["command"]


def test_draws_by_hand():
    rows = [("net", "speckle", 0, 0.2, 2.0), ("net", "speckle", 1, 0.3, 4.0), ("net", "occlusion", 0, 0.5, 1.0)]
    frame = pd.DataFrame(rows, columns=["run", "distortion", "draw", "accuracy", "loss"])
    table = draws.summary(frame)
    assert table.loc[0].tolist() == ["net", "speckle", "0.250 ± 0.071", "3.000 ± 1.414"]
    assert table.distortion.tolist() == ["speckle", "occlusion"]


@pytest.mark.parametrize("run", Results(summary.RESULTS).runs, ids=lambda run: run.folder.name)
def test_every_stored_run_is_whole_and_says_how_it_was_made(run):
    assert run.config["data"]["official"] and run.config["command"].startswith("python run_all.py ")
    assert run.config["format"] == FORMAT and len(run.history) == run.config["experiment"]["epochs"]
    pd.testing.assert_frame_equal(run.metrics, evaluation.scores(run))
    assert run.metrics.set_index(["test_set", "layout"]).n["clean", "whole"] == 3589
    assert all(0 <= run.heatmaps(layer).min() <= run.heatmaps(layer).max() <= 1 for layer in run.layers)
    tracked = {"config.json", "history.csv", "predictions.npz", "metrics.json", "gradcam.npz", "manifest.json"}
    assert {path.name for path in run.folder.iterdir()} - {"model.keras"} == tracked
