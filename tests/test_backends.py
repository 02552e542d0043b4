"""JAX gives the numbers that TensorFlow gives, and what one backend trained the other shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ferhelpers import data, training
from ferhelpers.experiments import Experiment
from ferhelpers.runs import Run

pytest.importorskip("jax", reason="JAX is not installed")
ROOT = Path(__file__).parents[1]


def run(backend, *command):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_same_batches_give_the_same_network(tmp_path):
    start = training.build(Experiment(blocks=2, width=0.1, seed=4)).get_weights()
    np.savez(tmp_path / "start.npz", *start)
    found = {}
    for backend in ("tensorflow", "jax"):
        run(backend, "tests/fit_on_backend.py", tmp_path / "start.npz", tmp_path / f"{backend}.npz")
        found[backend] = np.load(tmp_path / f"{backend}.npz")
    ours, other = found["tensorflow"], found["jax"]
    np.testing.assert_allclose(other["before"], ours["before"], atol=1e-4)
    np.testing.assert_allclose(other["losses"], ours["losses"], rtol=1e-3)
    learned = np.abs(ours["after"] - ours["before"]).max()
    assert np.abs(other["after"] - ours["after"]).max() < 0.01 * learned  # Adam enlarges what rounding changes


def test_a_run_made_on_jax_is_shown_on_tensorflow(tmp_path):
    small = ["--data", "builtin", "--output", tmp_path, "--only", "06"]
    for change in ("EPOCHS=1", "FRACTION=0.1", "WIDTH=0.05", "BATCH_SIZE=32"):
        small += ["--set", change]
    run("jax", "run_all.py", *small, "--train-only")
    configs = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/config.json")]
    assert [config["environment"]["backend"] for config in configs] == ["jax", "jax"]

    shown = run("tensorflow", "run_all.py", *small)
    assert "epoch" not in shown and (tmp_path / "index.html").is_file()
    assert len(list(tmp_path.glob("runs/*/config.json"))) == 2

    faces = data.load("builtin").subset(0.1)
    for folder in (tmp_path / "runs").glob("cnn*"):
        stored = Run(folder)
        logits = training.predict(stored.model(), faces.public.images)
        np.testing.assert_allclose(logits, stored.logits("clean"), atol=1e-4)
