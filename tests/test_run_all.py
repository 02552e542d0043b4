"""`run_all.py` checks everything before it writes anything, runs notebooks in order, and says what went wrong."""

import contextlib
import fcntl
import json
import multiprocessing
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import nbformat
import pytest

import run_all
from ferhelpers import data, parameters
from ferhelpers.environment import cores
from ferhelpers.errors import InputError
from ferhelpers.experiments import Settings, layer_ablation
from ferhelpers.files import hold
from ferhelpers.progress import Progress

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def study(monkeypatch, tmp_path, faces):
    """Builds a project of fixture notebooks and makes run_all take it for its own; returns its folder."""

    def build(*names, fixture=None, **profiles):
        (tmp_path / "notebooks").mkdir()
        (tmp_path / "profiles").mkdir()
        for name in names:
            shutil.copy(FIXTURES / f"{fixture or name}.ipynb", tmp_path / "notebooks" / f"{name}.ipynb")
        for profile in parameters.PROFILES:
            (tmp_path / "profiles" / f"{profile}.yml").write_text(profiles.get(profile, ""))
        monkeypatch.setattr(run_all, "ROOT", tmp_path)
        monkeypatch.setattr(parameters, "FOLDER", tmp_path / "profiles")
        monkeypatch.setattr(run_all, "NOTEBOOKS", names)
        load = data.load  # drawing thousands of faces is another test's matter
        monkeypatch.setattr(
            data, "load", lambda source, **options: faces if source in ("auto", "builtin") else load(source)
        )
        monkeypatch.setenv("PYTHONPATH", str(Path(run_all.__file__).parent))
        monkeypatch.delenv("FER2013", raising=False)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return build


def executed(path):
    """The outputs of a notebook as text."""
    cells = nbformat.read(path, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_a_run_leaves_all_that_was_promised_and_the_next_failure_stops(study, capfd):
    root = study("fine", "broken", "slow")
    assert run_all.main(["--data", "builtin", "--only", "fine", "--set", "EPOCHS=3"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("BUILT-IN DRAWN FACES, not FER-2013")
    assert "\nfine  EPOCHS is 3\n" in out and "%|" not in out  # lines, no bar: this is no terminal
    assert err == ""
    output = root / "outputs" / "demo"
    for name in ("notebooks/fine.ipynb", "fine.html", "index.html", "figures/fine_face.png", "tables/fine_table.csv"):
        assert (output / name).stat().st_size > 0
    assert "python run_all.py --data builtin --only fine --set EPOCHS=3" in (output / "index.html").read_text()
    record = json.loads((output / "notebooks" / "fine.json").read_text())
    assert record["parameters"]["OUTPUT"] == str(output)

    assert run_all.main(["--data", "builtin", "--only", "broken,slow", "--output", "other {folder}"]) == 1
    out, err = capfd.readouterr()
    assert 'raise RuntimeError(f"no more than {faces} faces")' in err and "RuntimeError: no more than 7 faces" in err
    partial = root / "other {folder}" / "notebooks" / "broken.ipynb"
    assert str(partial) in err
    assert executed(partial) == "before\n"
    assert not (root / "other {folder}" / "notebooks" / "slow.ipynb").exists()


def test_wrong_input_that_a_notebook_finds_ends_as_wrong_input(study, capfd):
    study("wrong_input")
    assert run_all.main([]) == 2
    line = "wrong_input: weights.h5 holds another network; give that of EfficientNetB0"
    assert capfd.readouterr().err == f"run_all.py: {line}\n"


def test_a_notebook_that_does_not_end_its_study_is_noticed(study, capfd):
    root = study("unfinished")
    assert run_all.main(["--no-html"]) == 1
    assert f"missing: {root}/outputs/demo/notebooks/unfinished.json" in capfd.readouterr().err
    assert not (root / "outputs" / "demo" / "unfinished.html").exists()


def test_a_dead_kernel_is_reported_with_its_cell(study, capfd):
    study("dead")
    assert run_all.main([]) == 1
    err = capfd.readouterr().err
    assert "os._exit(1)" in err and "The kernel died" in err and "Traceback" not in err


def command(notebook, *arguments):
    """run_all.py on built-in faces, but few, for a project of one fixture notebook: the current folder."""
    script = (
        "import run_all, sys; from pathlib import Path; from ferhelpers import faces; faces.SIZES = (70, 70, 70);"
        f"run_all.ROOT = Path.cwd(); run_all.NOTEBOOKS = ('{notebook}',);"
        "sys.exit(run_all.main(sys.argv[1:]))"
    )
    return [sys.executable, "-c", script, *arguments, "--data", "builtin"]


def start(root, notebook, output):
    """This command in a process of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command(notebook, "--output", output), cwd=root, text=True, **pipes)


@pytest.mark.slow
def test_a_second_run_waits_for_the_first(study):
    root = study("fine")
    with hold(root / "out" / ".lock", waiting=None):
        process = start(root, "fine", "out")
        while "Waiting for another run_all.py that writes to" not in process.stdout.readline():
            assert process.poll() is None
        assert not (root / "out" / "notebooks").exists()
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0 and "fine  done in" in out, err


@pytest.mark.slow
def test_two_trainers_at_once_train_nothing_twice(tmp_path):
    options = ["--data", "builtin", "--output", tmp_path, "--only", "06", "--train-only"]
    command = [sys.executable, run_all.__file__, *options]
    for change in ("EPOCHS=2", "FRACTION=0.05", "WIDTH=0.05", "BATCH_SIZE=32"):
        command += ["--set", change]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    lines = [line.split("  ")[0] for out, _ in outputs for line in out.splitlines() if ": epoch " in line]
    assert sorted(lines) == ["baseline: epoch 1/2", "baseline: epoch 2/2", "final: epoch 1/2", "final: epoch 2/2"]
    assert len(list(tmp_path.glob("runs/*/manifest.json"))) == 2


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(study):
    root = study("slow")
    process = start(root, "slow", "a b")
    while "epoch 1" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130
    assert err.strip() == "Stopped. What is finished is kept; to go on: python run_all.py --output 'a b' --data builtin"
    assert "epoch 1\n" in executed(root / "a b" / "notebooks" / "slow.ipynb")


def test_an_output_that_cannot_be_written_ends_in_one_line(study, capfd):
    root = study("fine")
    assert run_all.main(["--output", "notebooks/fine.ipynb/out", "--no-html", "--profile", "full"]) == 2
    err = capfd.readouterr().err
    assert err.startswith("run_all.py: cannot write") and len(err.splitlines()) == 1
    assert not list(root.glob("out*"))


@pytest.mark.parametrize(
    "profile, what",
    [
        ("EPOCH: 3", "there is no parameter EPOCH; there are DATA, OUTPUT"),
        ("{EPOCHS: 3", "not YAML"),
        ("- EPOCHS", "a profile has lines NAME: value"),
        ("EPOCHS: many", "EPOCHS takes a whole number, not 'many'"),
        ("DATA: x.csv", "DATA: use --data instead"),
    ],
)
def test_wrong_profiles_end_in_one_line(study, capfd, profile, what):
    root = study("fine", demo=profile)
    assert run_all.main([]) == 2
    err = capfd.readouterr().err
    assert what in err and "demo.yml" in err and len(err.splitlines()) == 1
    assert not (root / "outputs").exists()


def plan(*arguments):
    return run_all.make_plan(run_all._options(list(arguments)))


def test_values_come_from_defaults_profile_and_command_line_in_that_order(study):
    study("fine", "all_parameters", fast="EPOCHS: 4\nSEED: 2\nLEARNING_RATE: 1e-4")
    values = plan("--profile", "fast", "--set", "EPOCHS=5", "--set", "SEEDS=3", "--data", "builtin").values
    assert list(values) == ["fine", "all_parameters"]
    assert values["fine"] == {
        "DATA": "builtin",
        "OUTPUT": str(run_all.ROOT / "outputs" / "fast"),
        "FRACTION": 0.05,
        "SEED": 2,
        "EPOCHS": 5,
    }
    assert values["all_parameters"]["LEARNING_RATE"] == 1e-4
    assert values["all_parameters"]["SEEDS"] == 3
    assert values["all_parameters"]["WIDTH"] == 0.25


def test_paths_are_made_absolute(study, monkeypatch):
    root = study("all_parameters")
    for name in ("stored/runs", "data"):
        (root / name).mkdir(parents=True)
    (root / "w.h5").touch()
    monkeypatch.setattr(run_all, "_check_results", lambda *given: None)  # there are none
    values = plan("--results", "stored", "--set", "WEIGHTS=w.h5", "--output", "x/../y").values["all_parameters"]
    assert values["RESULTS"] == str(root / "stored")
    assert values["WEIGHTS"] == str(root / "w.h5")
    assert values["OUTPUT"] == str(root / "y")
    monkeypatch.setenv("FER2013", "data/fer.csv")
    assert plan().values["all_parameters"]["DATA"] == str(root / "data" / "fer.csv")


def test_a_photo_is_named_from_the_users_folder(monkeypatch, tmp_path, faces):
    monkeypatch.setattr(data, "load", lambda *given, **options: faces)
    monkeypatch.chdir(tmp_path)
    given = "--only", "10", "--data", "builtin"
    assert plan(*given).values["10_your_photo"]["PHOTO"] == "../docs/astronaut.jpg"
    assert plan(*given, "--set", "PHOTO=me.jpg").values["10_your_photo"]["PHOTO"] == str(tmp_path / "me.jpg")


def test_only_takes_numbers_and_names_in_the_order_of_the_series(monkeypatch):
    assert run_all._choose("05, 03") == ["03_baseline", "05_dropout_ablation"]
    assert run_all._choose("07_efficientnet,07") == ["07_efficientnet"]
    assert run_all._choose(None) == list(run_all.NOTEBOOKS)


def test_train_only_needs_no_jupyter_and_trains_what_the_notebooks_would(study, monkeypatch, capfd):
    root = study("01_data", "04_layer_ablation", fixture="all_parameters", fast="EPOCHS: 2")
    calls = []

    def train_all(experiments, dataset, store, seeds, progress):
        progress("epoch 1/2")
        calls.append((experiments, len(dataset.training), store.folder, seeds))
        return {name: [None] * seeds for name in experiments}

    monkeypatch.setattr("ferhelpers.training.train_all", train_all)
    for name in ("IPython", "papermill", "nbconvert", "nbformat", "nbclient", "jupyter_client", "ipykernel", "jinja2"):
        monkeypatch.setitem(sys.modules, name, None)
    arguments = ["--profile", "fast", "--train-only", "--set", "SEEDS=2", "--set", "FRACTION=0.5", "--set", "SEED=7"]
    assert run_all.main(arguments) == 0
    settings = Settings(epochs=2, width=0.25, learning_rate=0.001, weights="none", seed=7)
    [(experiments, images, folder, seeds)] = calls
    assert experiments == layer_ablation(settings)
    assert 45 <= images <= 55 and folder == root / "outputs" / "fast" / "runs" and seeds == 2
    assert "\nepoch 1/2\nIn the store: blocks_1 (2), " in capfd.readouterr().out
    assert run_all.main(["--profile", "fast", "--train-only", "--networks", "listing, blocks_2"]) == 0
    assert list(calls[1][0]) == ["blocks_2", "listing"]

    monkeypatch.delitem(sys.modules, "ferhelpers.execution", raising=False)
    monkeypatch.delattr("ferhelpers.execution", raising=False)
    assert run_all.main(["--profile", "fast"]) == 2
    assert "papermill is not installed: run make env, or use --train-only" in capfd.readouterr().err


def test_weights_that_cannot_be_had_are_missed_before_anything_is_trained(monkeypatch, tmp_path, faces, capfd):
    tried = []

    def build(weights):
        tried.append(weights)
        raise InputError("there is no network")

    monkeypatch.setattr(data, "load", lambda source, **options: faces)
    monkeypatch.setattr("ferhelpers.models.build_efficientnet", build)
    monkeypatch.setattr(
        "ferhelpers.training.train_all", lambda experiments, *rest, **options: dict.fromkeys(experiments, [])
    )
    arguments = ["--profile", "full", "--data", "builtin", "--output", str(tmp_path / "out"), "--train-only"]
    assert run_all.main(arguments) == 2
    assert tried == ["imagenet"] and capfd.readouterr().err == "run_all.py: there is no network\n"
    assert run_all.main([*arguments, "--networks", "final"]) == run_all.main([*arguments, "--only", "03"]) == 0
    monkeypatch.setattr("ferhelpers.store.Store.find", lambda store, experiment, fingerprint: experiment.weights)
    assert run_all.main(arguments) == 0 and tried == ["imagenet"]  # what it is needed for is there already


def test_the_bar_is_live_on_a_terminal(monkeypatch):
    """On a terminal of 80 columns, one line shows the share of cells and the last line that the notebook printed."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with open(follower, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        with Progress(4) as progress:
            progress.start("03_baseline")
            progress.cell_ends()
            progress.write("baseline: epoch 2/8  loss 1.2")
            progress.write(" and more\nbaseline: epoch 3/8" + "." * 100 + "\n")
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal that is closed
        while part := os.read(leader, 10_000):
            shown += part
    lines = shown.decode().replace("\n", "\r").split("\r")
    assert any(
        line.startswith(" 25% |██") and "03_baseline  baseline: epoch 2/8  loss 1.2 and more" in line for line in lines
    )
    assert max(map(len, lines)) <= 80


@pytest.mark.slow
def test_a_helper_trains_the_longest_first(tmp_path):
    small = ("FRACTION=0.05", "EPOCHS=1", "WIDTH=0.05")
    options = [option for value in small for option in ("--set", value)]
    asked = plan("--data", "builtin", "--only", "04", "--output", str(tmp_path), *options)
    experiments, dataset, store, _ = run_all._trainings(asked)
    before, longest = dict(os.environ), max(experiments.values(), key=lambda experiment: experiment.cost)
    with run_all._helpers(asked, 2, str):
        limit = time.monotonic() + 120
        while not (run := store.find(longest, dataset.fingerprint)) and time.monotonic() < limit:
            time.sleep(0.1)
    assert run and run.config["environment"]["variables"]["OMP_NUM_THREADS"] == str(max(1, cores() // 2))
    assert not store.find(experiments["blocks_1"], dataset.fingerprint)
    assert dict(os.environ) == before and not multiprocessing.active_children()
