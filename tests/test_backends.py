"""JAX gives the numbers that TensorFlow gives, and what JAX trained TensorFlow shows."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fit_on_backend import ROBUST, SMALL

from ferhelpers import data, evaluation, tables, training
from ferhelpers.experiments import Experiment
from ferhelpers.runs import Runs
from ferhelpers.store import Store

pytestmark = pytest.mark.slow

pytest.importorskip("jax", reason="JAX is not installed")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What fit_on_backend.py left on each backend: {backend: (its numbers, its store)}."""
    folder = tmp_path_factory.mktemp("backends")
    np.savez(folder / "start.npz", *training.build(Experiment(blocks=2, width=0.1, seed=4)).get_weights())
    script = Path(__file__).with_name("fit_on_backend.py")
    for backend in ("tensorflow", "jax"):
        command = [sys.executable, script, folder / "start.npz", folder / f"{backend}.npz", folder / backend]
        done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return {name: (np.load(folder / f"{name}.npz"), Store(folder / name)) for name in ("tensorflow", "jax")}


def test_the_same_batches_give_the_same_network(trained):
    ours, other = trained["tensorflow"][0], trained["jax"][0]
    np.testing.assert_allclose(other["before"], ours["before"], atol=1e-4)
    np.testing.assert_allclose(other["losses"], ours["losses"], rtol=1e-3)
    learned = np.abs(ours["after"] - ours["before"]).max()
    assert np.abs(other["after"] - ours["after"]).max() < 0.01 * learned  # Adam enlarges what rounding changes


@pytest.mark.parametrize("experiment, views, layer", [(SMALL, False, "conv2_3"), (ROBUST, True, "conv3_3")])
def test_a_run_made_on_jax_is_read_evaluated_and_shown_on_tensorflow(trained, experiment, views, layer):
    faces = data.load("builtin").subset(0.15)
    lines = []
    run = training.train(experiment, faces, trained["jax"][1], progress=lines.append)
    assert lines == [] and run.config["environment"]["backend"] == "jax"
    logits = training.predict(run.model(), faces.public.images, views)
    np.testing.assert_allclose(logits, run.logits("clean"), rtol=2**-11, atol=1e-3)  # stored in float16
    row = tables.overview(Runs({"final": [run]})).set_index("network").loc["final"]
    assert row["accuracy: this run"] == f"{evaluation.accuracy(run.logits('clean'), faces.public.labels):.3f}"
    assert run.heatmaps(layer).max() == 1


def test_a_run_made_on_tensorflow_has_the_same_key_and_files(trained):
    fingerprint = data.load("builtin").subset(0.15).fingerprint
    files = {
        name: sorted(path.name for path in store.find(SMALL, fingerprint).folder.iterdir())
        for name, (_, store) in trained.items()
    }
    assert files["tensorflow"] == files["jax"]
