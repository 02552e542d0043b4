"""A notebook's context checks its parameters, says what it runs on, and keeps figures and tables with their words."""

import dataclasses
import io
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib import pyplot as plt
from PIL import Image

from ferhelpers import data, notebook
from ferhelpers.errors import InputError
from ferhelpers.experiments import STUDY, Settings
from ferhelpers.runs import Runs


@pytest.fixture
def scope(monkeypatch, tmp_path, faces):
    """The globals() of a notebook on a few drawn faces."""
    monkeypatch.setattr(data, "load", lambda source, allow_subset=False: faces)
    return {"DATA": "builtin", "OUTPUT": str(tmp_path / "out"), "FRACTION": 1.0, "SEED": 3}


@pytest.fixture
def shown(monkeypatch):
    """What is displayed: a list of (positional arguments, keyword arguments)."""
    calls = []
    monkeypatch.setattr("IPython.display.display", lambda *objects, **options: calls.append((objects, options)))
    return calls


def stored_run(experiment, folder):
    return SimpleNamespace(folder=folder, config={"experiment": experiment.content()})


def as_fer2013(dataset):
    return dataclasses.replace(dataset, provenance={**dataset.provenance, "form": "folder", "source": "fer2013.zip"})


def test_begin_takes_upper_case_literals_and_says_what_it_runs_on(scope, capsys):
    study = notebook.begin("01_data", {**scope, "CLASSES": ("angry",), "np": np, "n": 3, "_": "x"})
    assert study.parameters == scope
    out = capsys.readouterr().out
    assert out.startswith("01_data\n  data       BUILT-IN DRAWN FACES, not FER-2013: 100 training")
    assert f"numpy {np.__version__}" in out and "seed       3" in out
    assert "hardware" not in out  # this notebook trains nothing, so it loads no backend


def test_begin_names_backend_hardware_and_precision_where_a_notebook_trains(scope, capsys):
    study = notebook.begin("03_baseline", {**scope, "PRECISION": "float32", "EPOCHS": 2, "SEEDS": 2})
    assert study.settings == Settings(epochs=2, precision="float32", seed=3)
    assert "precision  float32 on " in capsys.readouterr().out
    assert {"backend", "precision", "processor", "cores", "gpus", "versions"} <= study.environment.keys()


@pytest.mark.parametrize(
    "name, value, what",
    [
        ("FRACTION", 0.0, "FRACTION cannot be 0.0"),
        ("FRACTION", 1, "FRACTION takes float, not 1"),
        ("EPOCHS", True, "EPOCHS takes int, not True"),
        ("WIDTH", -1.0, "WIDTH cannot be -1.0"),
        ("PRECISION", "half", "PRECISION cannot be 'half'"),
        ("SEED", "0", "SEED takes int, not '0'"),
    ],
)
def test_begin_refuses_wrong_parameters(scope, name, value, what):
    with pytest.raises(InputError, match=f"the parameters cell: {what}"):
        notebook.begin("03_baseline", {**scope, name: value})


def test_train_hands_settings_data_store_and_seeds_over(scope, monkeypatch, tmp_path):
    calls = []

    def train_all(experiments, *arguments, **options):
        calls.append(((experiments, *arguments), options))
        return Runs({"blocks_4": [stored_run(experiments["blocks_4"], tmp_path / "four")], "dropout_0.5": []})

    monkeypatch.setattr("ferhelpers.training.train_all", train_all)
    study = notebook.begin("05_dropout_ablation", {**scope, "EPOCHS": 2, "SEEDS": 4})
    assert list(study.train(STUDY["05_dropout_ablation"])) == ["blocks_4", "dropout_0.5"]
    study.end()
    assert json.loads((tmp_path / "out/notebooks/05_dropout_ablation.json").read_text())["runs"] == [
        str(tmp_path / "four")
    ]
    [((experiments, dataset, store), options)] = calls
    assert experiments == STUDY["05_dropout_ablation"](Settings(epochs=2, seed=3))
    assert dataset is study.dataset and store.folder == tmp_path / "out" / "runs" and options == {"seeds": 4}


def test_stored_results_are_shown_instead_of_training(scope, monkeypatch, tmp_path, capsys):
    asked = STUDY["05_dropout_ablation"](Settings(seed=3))
    stored = Runs({**dict.fromkeys(asked, []), "blocks_4": [stored_run(asked["blocks_4"], tmp_path / "four")]})
    monkeypatch.setattr(notebook, "Results", lambda folder: SimpleNamespace(find_all=lambda *arguments: stored))
    study = notebook.begin("05_dropout_ablation", {**scope, "RESULTS": "earlier", "SEEDS": 1})
    assert study.train(STUDY["05_dropout_ablation"]) is stored
    lacking = [f"dropout_{rate}: not among the stored results" for rate in (0.5, 0.65)]
    assert capsys.readouterr().out.splitlines()[-3:] == ["blocks_4: four", *lacking]


def test_a_figure_is_shown_with_its_alt_text_kept_and_closed(scope, shown, tmp_path):
    study = notebook.begin("01_data", scope)
    fig, axes = plt.subplots(figsize=(2, 2))
    axes.imshow(np.eye(5))
    study.figure(fig, "eye", 'A "diagonal"')
    assert not plt.get_fignums()
    [((bundle,), options)] = shown
    assert bundle["text/plain"] == 'A "diagonal"'
    assert options == {"raw": True, "metadata": {"image/png": {"alt": 'A "diagonal"'}}}
    assert bundle["image/png"] == (tmp_path / "out" / "figures" / "eye.png").read_bytes()
    width, height = Image.open(io.BytesIO(bundle["image/png"])).size
    assert 150 <= width <= 300 and 150 <= height <= 300


def test_figures_and_tables_of_drawn_faces_say_so_and_others_do_not(scope, shown, faces, monkeypatch):
    texts = []
    origin = {**as_fer2013(faces).provenance, "splits": "folders"}
    for dataset in (faces, as_fer2013(faces), dataclasses.replace(faces, provenance=origin)):
        monkeypatch.setattr(data, "load", lambda source, allow_subset, dataset=dataset: dataset)
        study = notebook.begin("01_data", scope)
        fig = plt.figure()
        study.figure(fig, "empty", "Nothing")
        study.table(pd.DataFrame({"a": [1]}), "one", "One")
        texts.append(([text.get_text() for text in fig.texts], shown[-1][0][0].data))
    assert texts[0][0] == [f"\n{notebook.DRAWN}"] and f"One ({notebook.DRAWN})</span></caption>" in texts[0][1]
    assert texts[1][0] == [] and "One</span></caption>" in texts[1][1]
    assert texts[2][0] == ["\nnot FER-2013's official splits"]
    assert "One (not FER-2013's official splits)</span></caption>" in texts[2][1]


def test_figures_and_tables_of_networks_trained_otherwise_say_so(scope, shown, faces, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "load", lambda source, allow_subset: as_fer2013(faces))
    stored = Runs()
    monkeypatch.setattr("ferhelpers.store.Store.find_all", lambda store, asked, *rest: stored)
    study = notebook.begin("06_final_model", {**scope, "EPOCHS": 100, "SEEDS": 1, "LEARNING_RATE": 1e-4})
    asked = STUDY["06_final_model"](study.settings)
    as_asked = stored_run(asked["final"], tmp_path)
    short = stored_run(dataclasses.replace(asked["baseline"], epochs=2), tmp_path)
    faster = stored_run(dataclasses.replace(asked["final"], learning_rate=1e-3), tmp_path)
    for runs, note in [
        ({"final": [as_asked], "baseline": []}, None),
        ({"final": [as_asked], "baseline": [short]}, "trained otherwise than asked: 2 of 100 epochs at rate 0.0001"),
        (
            {"final": [faster], "baseline": [short]},
            "trained otherwise than asked: 2 of 100 epochs at rate 0.0001, 55 of 55 epochs at rate 0.001",
        ),
        ({"final": [as_asked]}, None),
    ]:
        stored.clear()
        stored.update(runs)
        study.found(STUDY["06_final_model"])
        fig = plt.figure()
        study.figure(fig, "empty", "Nothing")
        study.table(pd.DataFrame({"a": [1]}), "one", "One")
        study.table(pd.DataFrame({"a": [1]}), "published", "Two", measured=False)
        assert [text.get_text() for text in fig.texts] == ([f"\n{note}"] if note else [])
        assert f"One ({note})</span>" in shown[-2][0][0].data if note else "One</span>" in shown[-2][0][0].data
        assert "Two</span>" in shown[-1][0][0].data


def test_a_table_is_kept_as_numbers_and_shown_as_text(scope, shown, tmp_path):
    frame = pd.DataFrame(
        {
            "set": ["clean <b>", "blur & noise"],
            "report": [0.68712345, np.nan],
            "run": ["0.71 ± 0.02", "3,589"],
            "n": [7, 8],
        }
    )
    notebook.begin("01_data", scope).table(frame, "table_1", "Accuracy & loss")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "tables" / "table_1.csv"), frame)
    text = shown[0][0][0].data
    assert "<caption><span>Accuracy &amp; loss" in text and "<td>clean &lt;b&gt;</td>" in text
    for number in ("0.687", "–", "0.71 ± 0.02", "3,589", "7"):
        assert f'<td class="n">{number}</td>' in text
    mixed = notebook.table_html(pd.DataFrame({"value": ["folder", 1.0, "a (b)"]}), "x")
    assert "<td>1.000</td>" in mixed and 'class="n"' not in mixed  # flush right by the column, not by the cell


def test_a_named_index_is_a_column_and_levels_of_columns_are_joined():
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("report", "loss"), ("run", "")]))
    assert '<th scope="col" class="n">report loss</th><th scope="col" class="n">run</th></tr>' in notebook.table_html(
        frame, "x"
    )
    frame = pd.DataFrame({"a": [1]}, index=pd.Index(["blur"], name="test set"))
    assert '<th scope="col">test set</th><th scope="col" class="n">a</th>' in notebook.table_html(frame, "x")


def test_answer_and_claims_are_shown_and_kept(scope, shown, tmp_path):
    claims = pd.DataFrame(
        {
            "claim": ["Two < three", "Three > two"],
            "verdict": ["supported", "not run"],
            "epochs": "100 of 100",
            "report says": "0.60 against 0.55",
            "this run": ["0.61 against 0.57", "not run"],
            "evidence": "1 of 1 intervals",
            "source": "7, Table 3",
            "short schedule": ["contradicted", None],
        }
    )
    study = notebook.begin("01_data", scope)
    study.answer(["Blur & noise hurt.", "No more."])
    study.claims(claims)
    study.end()
    answer, lines = (BeautifulSoup(objects[0].data, "html.parser") for objects, _ in shown)
    assert [item.text for item in answer.select("ul.answer li")] == ["Blur & noise hurt.", "No more."]
    assert [line.summary.span.text for line in lines.select(".claims details")] == ["Two < three", "Three > two"]
    assert [word.text for word in lines.select("b")] == ["supported", "contradicted", "not run"]
    assert [page.find_all("p")[-1].text for page in (answer, lines)] == [notebook.DRAWN] * 2
    record = json.loads((tmp_path / "out/notebooks/01_data.json").read_text())
    assert record["answer"] == ["Blur & noise hurt.", "No more."]
    assert record["claims"] == claims.fillna("").to_dict("records")


@pytest.mark.parametrize("name, words", [("../up", "x"), ("Name", "x"), ("", "x"), ("name", " ")])
def test_figures_and_tables_need_a_plain_name_and_words(scope, name, words):
    study = notebook.begin("01_data", scope)
    fig = plt.figure()
    with pytest.raises(InputError):
        study.figure(fig, name, words)
    with pytest.raises(InputError):
        study.table(pd.DataFrame(), name, words)
    plt.close(fig)


def test_end_leaves_a_record_that_begin_takes_away(scope, shown, tmp_path):
    record = tmp_path / "out" / "notebooks" / "01_data.json"
    study = notebook.begin("01_data", scope)
    for _ in range(2):  # a cell that is run twice leaves one figure
        study.figure(plt.figure(), "second", "2", main=True)
        study.figure(plt.figure(), "first", "1")
    study.table(pd.DataFrame({"a": [1]}), "one", "One")
    assert not record.exists()
    study.end()
    content = json.loads(record.read_text())
    assert [(figure["name"], figure["main"]) for figure in content["figures"]] == [("second", True), ("first", False)]
    assert content["tables"] == [{"name": "one", "caption": f"One ({notebook.DRAWN})"}]
    assert content["answer"] == content["claims"] == []
    assert content["data"]["drawn"] and content["data"]["banner"] == notebook.banner(study.dataset)
    assert content["parameters"] == scope
    notebook.begin("01_data", scope)
    assert not record.exists()


def test_the_banner_says_which_data_and_how_much_of_it(faces):
    sizes = f"{len(faces.training)} training, {len(faces.public)} public and {len(faces.private)} private"
    assert notebook.banner(faces).startswith(f"BUILT-IN DRAWN FACES, not FER-2013: {sizes}")
    assert notebook.banner(as_fer2013(faces)).startswith(f"FER-2013 (0.05 of it) from fer2013.zip: {sizes}")
    whole = dataclasses.replace(faces, provenance={**as_fer2013(faces).provenance, "fraction": 1.0})
    assert notebook.banner(whole).startswith(f"FER-2013 (a part of it) from fer2013.zip: {sizes}")
