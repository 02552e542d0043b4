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

from ferhelpers import data, notebook, parameters
from ferhelpers.errors import InputError
from ferhelpers.experiments import PROTOCOL, STUDY, Settings
from ferhelpers.runs import FORMAT, Runs
from ferhelpers.store import Store


@pytest.fixture
def loads(monkeypatch):
    """A function that says which Dataset is loaded."""
    return lambda dataset: monkeypatch.setattr(data, "load", lambda source, **options: dataset)


@pytest.fixture
def scope(loads, tmp_path, faces):
    """The globals() of a notebook on a few drawn faces."""
    loads(faces)
    return {"DATA": "builtin", "OUTPUT": str(tmp_path / "out"), "FRACTION": 1.0, "SEED": 3}


@pytest.fixture
def shown(monkeypatch):
    """What is displayed: a list of (positional arguments, keyword arguments)."""
    calls = []
    monkeypatch.setattr("IPython.display.display", lambda *objects, **options: calls.append((objects, options)))
    return calls


def store_run(results, experiment, fingerprint):
    """The folder of a training, without its numbers."""
    folder = Store(results / "runs").path(experiment, fingerprint)
    folder.mkdir(parents=True)
    config = {"format": FORMAT, "experiment": experiment.content(), "data": {"fingerprint": fingerprint}, "chosen": []}
    (folder / "config.json").write_text(json.dumps(config))
    return Store.seal(folder)


def figure_and_table(study, shown):
    """The texts in a figure, and the caption of a table."""
    fig = plt.figure()
    study.figure(fig, "empty", "Nothing")
    study.table(pd.DataFrame({"a": [1]}), "one", "One")
    return [text.get_text() for text in fig.texts], caption(shown[-1])


def caption(call):
    return BeautifulSoup(call[0][0].data, "html.parser").caption.text


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


def test_begin_refuses_wrong_parameters_by_name(scope):
    for name, value, what in [("FRACTION", 0.0, "cannot be 0.0"), ("EPOCHS", True, "takes a whole number, not True")]:
        with pytest.raises(InputError, match=f"the parameters cell: {name} {what}"):
            notebook.begin("03_baseline", {**scope, name: value})


def test_train_hands_settings_data_store_and_seeds_over(scope, monkeypatch, tmp_path):
    calls, four = [], store_run(tmp_path, PROTOCOL["blocks_4"], "")

    def train_all(experiments, *arguments, **options):
        calls.append(((experiments, *arguments), options))
        return Runs({"blocks_4": [four], "dropout_0.5": []})

    monkeypatch.setattr("ferhelpers.training.train_all", train_all)
    study = notebook.begin("05_dropout_ablation", {**scope, "EPOCHS": 2, "SEEDS": 4})
    assert list(study.train(STUDY["05_dropout_ablation"])) == ["blocks_4", "dropout_0.5"]
    study.end()
    assert json.loads((tmp_path / "out/notebooks/05_dropout_ablation.json").read_text())["runs"] == [str(four.folder)]
    [((experiments, dataset, store), options)] = calls
    assert experiments == STUDY["05_dropout_ablation"](Settings(epochs=2, seed=3))
    assert dataset is study.dataset and store.folder == tmp_path / "out" / "runs" and options == {"seeds": 4}


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


def test_figures_and_tables_of_drawn_faces_and_of_other_splits_say_so(scope, shown, faces, loads):
    origin = {**as_fer2013(faces).provenance, "splits": "folders"}
    for dataset, note in [
        (faces, notebook.DRAWN),
        (as_fer2013(faces), ""),
        (dataclasses.replace(faces, provenance=origin), "not FER-2013's official splits"),
    ]:
        loads(dataset)
        study = notebook.begin("01_data", scope)
        assert figure_and_table(study, shown) == ([f"\n{note}"] * bool(note), f"One ({note})" if note else "One")


NOTE = "trained otherwise than asked: "


@pytest.mark.parametrize(
    "changes, note",  # of the stored networks
    [
        ({"final": {}}, ""),
        ({"final": {}, "baseline": {"epochs": 2}}, f"some {NOTE}2 of 100 epochs at rate 0.0001"),
        (
            {"final": {"learning_rate": 1e-3}, "baseline": {"epochs": 2}},
            f"{NOTE}2 of 100 epochs at rate 0.0001, 55 of 55 epochs at rate 0.001",
        ),
    ],
)
def test_figures_and_tables_of_networks_trained_otherwise_say_so(scope, shown, faces, tmp_path, loads, changes, note):
    loads(as_fer2013(faces))
    for name, change in changes.items():
        store_run(tmp_path, dataclasses.replace(PROTOCOL[name], **change), faces.fingerprint)
    study = notebook.begin("06_final_model", {**scope, "RESULTS": str(tmp_path)})
    study.stored(STUDY["06_final_model"])
    study.table(pd.DataFrame({"a": [1]}), "published", "Two", measured=False)
    assert figure_and_table(study, shown) == ([f"\n{note}"] * bool(note), f"One ({note})" if note else "One")
    assert caption(shown[0]) == "Two"


def test_stored_results_of_fer2013_are_shown_without_its_images(scope, shown, faces, tmp_path, capsys):
    run = store_run(tmp_path, PROTOCOL["final"], "another data set's")
    study = notebook.begin("06_final_model", {**scope, "RESULTS": str(tmp_path)})
    assert not study.pictures and study.fingerprint == "another data set's"
    out = capsys.readouterr().out
    assert "no picture of them is shown" in out and "DRAWN" not in out
    assert figure_and_table(study, shown) == ([f"\n{notebook.DRAWN}"], f"One ({notebook.DRAWN})")  # of the data so far
    assert study.train(STUDY["06_final_model"]).first()["final"].folder == run.folder
    assert capsys.readouterr().out == f"baseline: {notebook.NOT_STORED}\nfinal: {run.folder.name}\n"
    assert figure_and_table(study, shown) == ([], "One")
    study.end()
    assert json.loads((tmp_path / "out/notebooks/06_final_model.json").read_text())["runs"] == [str(run.folder)]


def test_another_data_set_can_take_the_place_of_the_notebooks(scope, faces):
    study = notebook.begin("06_final_model", scope)
    study.dataset = faces.subset(0.5)
    assert study.pictures and study.fingerprint == study.dataset.fingerprint != faces.fingerprint


def test_stored_results_on_the_drawn_faces_are_marked_as_drawn(scope, shown, faces, tmp_path):
    store_run(tmp_path, PROTOCOL["final"], faces.fingerprint)
    study = notebook.begin("06_final_model", {**scope, "RESULTS": str(tmp_path)})
    study.stored(STUDY["06_final_model"])
    assert study.pictures and figure_and_table(study, shown)[1] == f"One ({notebook.DRAWN})"


def test_stored_takes_the_trainings_of_a_profile_and_no_others(scope, shown, faces, tmp_path, loads):
    loads(as_fer2013(faces))
    fast = STUDY["06_final_model"](Settings.from_parameters(parameters.read_profile("fast")))
    full, quick = (store_run(tmp_path, networks["final"], faces.fingerprint) for networks in (PROTOCOL, fast))
    store_run(tmp_path, dataclasses.replace(fast["baseline"], epochs=2), faces.fingerprint)
    study = notebook.begin("06_final_model", {**scope, "RESULTS": str(tmp_path)})
    for profile, run in [("", full), ("fast", quick), ("full", full)]:
        runs = study.stored(STUDY["06_final_model"], profile)
        folders = {name: [run.folder for run in seeds] for name, seeds in runs.items()}
        assert folders == {"baseline": [], "final": [run.folder]}
        assert figure_and_table(study, shown) == ([], "One")


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


def test_a_named_index_is_a_column():
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


def test_an_uploaded_photo_goes_before_the_path():
    button = SimpleNamespace(value=())
    assert notebook.chosen(None, "a.jpg") == notebook.chosen(button, "a.jpg") == "a.jpg"
    button.value = (SimpleNamespace(content=memoryview(b"an image")),)
    assert notebook.chosen(button, "a.jpg").read() == b"an image"


def test_no_button_waits_where_no_reader_is_there(monkeypatch):
    monkeypatch.setenv("RUN_ALL_COMMAND", "python run_all.py")
    assert notebook.chooser() is None
    monkeypatch.delenv("RUN_ALL_COMMAND")
    assert notebook.chooser().accept == "image/*"
