"""Trainings on a Ray cluster are those of one machine, bit for bit, whatever is lost on the way (make torture)."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torture
from test_torture import SMALL
from test_training import TINY

import run_all
from ferhelpers.errors import InputError
from ferhelpers.store import Store

pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

from ferhelpers import cluster  # noqa: E402

pytestmark = pytest.mark.slow

PLAIN = dataclasses.replace(TINY, epochs=2)
LONG = dataclasses.replace(TINY, epochs=120)
COMMAND = [sys.executable, run_all.__file__, "--data", "builtin", "--only", "06", "--train-only", *SMALL]


@pytest.fixture(scope="module")
def nodes():
    """A cluster of a head without cores and two nodes of one core."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """What one process with one thread trains, without Ray."""
    folder = tmp_path_factory.mktemp("serial")
    subprocess.run([*COMMAND, "--output", folder], env=os.environ | cluster._limits(1, 0), check=True)
    return folder


def train(nodes, experiments, faces, folder, progress=lambda line: None, **options):
    return cluster.train_all(experiments, faces, Store(folder), 1, nodes.address, progress=progress, **options)


def test_the_command_trains_on_this_machine_what_one_process_would(serial, tmp_path):
    process = subprocess.run(
        [*COMMAND, "--ray", "--cpus", "1", "--output", tmp_path], capture_output=True, text=True, check=True
    )
    lines = sorted(line.split("  ")[0] for line in process.stdout.splitlines() if ": epoch " in line)
    assert lines == sorted(
        [f"baseline, seed 0: epoch {epoch}/3" for epoch in (1, 2, 3)]
        + [f"final, seed 0: epoch {epoch}/2" for epoch in (1, 2)]
    )
    assert process.stdout.endswith("In the store: baseline (1), final (1)\n")
    assert torture.compare(serial, tmp_path) == []
    assert list(tmp_path.glob("runs/.driver*")) == []


@pytest.mark.torture
def test_a_killed_driver_goes_on(serial, tmp_path):
    command = [*COMMAND, "--ray", "--cpus", "1", "--output", tmp_path]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while "baseline, seed 0: epoch 1/3" not in (line := process.stdout.readline()):
        assert line
    process.kill()
    process.communicate()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "epoch 1/" not in again.stdout or "going on after epoch" in again.stdout
    for token in tmp_path.glob("runs/.driver*"):
        token.unlink()
    assert torture.compare(serial, tmp_path) == []


@pytest.mark.torture
@pytest.mark.parametrize("loss", ["worker", "node"])
def test_what_is_lost_is_trained_on_from_its_last_epoch(nodes, faces, tmp_path, loss):
    lines, begun = [], set()

    def lose(line):
        lines.append(line)
        if ": epoch " not in line or len(begun) == 2:
            return
        begun.add(line.split(",")[0])
        if len(begun) == 2 and loss == "worker":
            for pid in trainers():
                os.kill(pid, signal.SIGKILL)
        elif len(begun) == 2:
            nodes.remove_node(list(nodes.worker_nodes)[0], allow_graceful=False)
            nodes.add_node(num_cpus=1)

    two = {"one": LONG, "two": dataclasses.replace(LONG, seed=1)}
    assert train(nodes, two, faces, tmp_path / "lost", lose) == {}
    assert any("going on after epoch" in line for line in lines), lines
    assert train(nodes, two, faces, tmp_path / "whole") == {}
    for name in Store(tmp_path / "whole").folder.glob("cnn1*"):
        for run in (tmp_path / "lost" / name.name / "predictions.npz", tmp_path / "lost" / name.name / "gradcam.npz"):
            assert run.read_bytes() == (name / run.name).read_bytes()


def trainers() -> list[int]:
    """The processes that are training."""
    commands = ((path.parent.name, path) for path in Path("/proc").glob("[0-9]*/cmdline"))
    return [int(pid) for pid, path in commands if path.exists() and path.read_bytes().startswith(b"ray::_train")]


def test_a_failing_training_stops_no_other_and_is_named(nodes, faces, tmp_path):
    diverging = dataclasses.replace(PLAIN, learning_rate=1e30)
    failures = train(nodes, {"plain": PLAIN, "diverging": diverging}, faces, tmp_path)
    assert list(failures) == ["diverging, seed 0"] and "the network diverged" in failures["diverging, seed 0"]
    assert Store(tmp_path).find(PLAIN, faces.fingerprint)


def test_a_node_that_does_not_see_the_folder_sends_the_run_back(nodes, faces, tmp_path, monkeypatch):
    assert train(nodes, {"plain": PLAIN}, faces, tmp_path / "seen") == {}
    write = cluster.write_atomically
    monkeypatch.setattr(
        cluster, "write_atomically", lambda path, do: path.name.startswith(".driver") or write(path, do)
    )
    assert train(nodes, {"plain": PLAIN}, faces, tmp_path / "unseen") == {}
    seen, unseen = (Store(tmp_path / name).find(PLAIN, faces.fingerprint) for name in ("seen", "unseen"))
    np.testing.assert_array_equal(seen.logits("clean"), unseen.logits("clean"))
    assert {path.name for path in seen.folder.iterdir()} == {path.name for path in unseen.folder.iterdir()}
    files = {path.name: path.read_bytes() for path in seen.folder.iterdir()} | {"history.csv": b"1"}
    with pytest.raises(InputError, match="history.csv came back damaged"):
        cluster._keep(files, tmp_path / "damaged")
    assert not (tmp_path / "damaged").exists()


@pytest.mark.torture
def test_a_full_object_store_is_no_end(faces, tmp_path):
    """Ray's smallest holds 75 MiB, less than the images here."""
    images = np.random.default_rng(0).integers(0, 256, (45_000, 48, 48), "uint8")
    many = dataclasses.replace(faces.training, images=images, labels=np.arange(45_000, dtype="uint8") % 7)
    one = dataclasses.replace(TINY, epochs=1, width=0.02, batch_size=512)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 75 * 2**20})
    try:
        assert train(nodes, {"one": one}, dataclasses.replace(faces, training=many), tmp_path) == {}
    finally:
        nodes.shutdown()


def test_what_cannot_be_had_is_said_in_one_line(nodes, faces, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="^--cpus 2: the largest node of the Ray cluster has 1$"):
        train(nodes, {"plain": PLAIN}, faces, tmp_path, cpus=2)
    with pytest.raises(InputError, match="^--gpus 0.5: the largest node of the Ray cluster has 0$"):
        train(nodes, {"plain": PLAIN}, faces, tmp_path, gpus=0.5)
    versions = cluster._packages()
    calls = iter([versions | {"keras": "2.0"}])
    monkeypatch.setattr(cluster, "_packages", lambda: next(calls, versions))
    with pytest.raises(InputError, match=r"has keras .* \(here 2.0\); install the same versions$"):
        train(nodes, {"plain": PLAIN}, faces, tmp_path)
    assert not list(tmp_path.glob("*"))


def test_an_address_that_does_not_answer_is_said_in_one_line(tmp_path):
    started = time.monotonic()
    command = [*COMMAND, "--ray", "127.0.0.1:1", "--output", tmp_path]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 2 and time.monotonic() - started < 120
    [line] = process.stderr.splitlines()
    assert line.startswith("run_all.py: --ray 127.0.0.1:1: no Ray cluster could be had there")
