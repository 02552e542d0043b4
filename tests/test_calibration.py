"""A temperature changes confidence and nothing else; what is left of a gap in loss at it is skill."""

import fake_runs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from ferhelpers import calibration, evaluation, tables
from ferhelpers.errors import InputError
from ferhelpers.runs import Runs


def honest(n=20_000, scale=2.0, seed=0):
    """Logits whose softmax is the chance of each label, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=scale, size=(n, 7))
    chances = special.softmax(logits, axis=1)
    return logits, (chances.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)


@pytest.mark.parametrize("factor", [0.2, 1.0, 5.0])
def test_the_temperature_undoes_a_false_confidence(factor):
    logits, labels = honest()
    assert calibration.temperature(factor * logits, labels) == pytest.approx(factor, rel=0.04)


def test_honest_probabilities_have_no_calibration_error_and_sure_ones_do():
    logits, labels = honest()
    assert calibration.calibration_error(logits, labels) < 0.015
    assert calibration.calibration_error(10 * logits, labels) > 0.2


def test_calibration_error_by_hand():
    """Four images at confidence 0.9, three of them right, and one at 1/7, wrong: (4 |0.75 - 0.9| + 1/7) / 5."""
    sure = np.log(0.9 / (0.1 / 6))
    logits = np.zeros((5, 7))
    logits[:4, 0] = sure
    labels = np.array([0, 0, 0, 1, 3])
    assert calibration.calibration_error(logits, labels) == pytest.approx((4 * 0.15 + 1 / 7) / 5)


def test_brier_by_hand():
    assert calibration.brier(np.zeros((3, 7)), np.array([0, 3, 6])) == pytest.approx((6 / 7) ** 2 + 6 / 49)
    sure = 50 * np.eye(7)
    assert calibration.brier(sure, np.arange(7)) == pytest.approx(0, abs=1e-9)
    assert calibration.brier(sure, (np.arange(7) + 1) % 7) == pytest.approx(2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), scale=st.floats(0.1, 20))
def test_the_temperature_is_the_best_there_is(seed, scale):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(scale=scale, size=(50, 7)), rng.integers(0, 7, 50)
    best = evaluation.cross_entropy(logits / calibration.temperature(logits, labels), labels)
    for degree in np.geomspace(*calibration.TEMPERATURES, 40):
        assert best <= evaluation.cross_entropy(logits / degree, labels) + 1e-4


def test_wrong_shapes_are_refused():
    with pytest.raises(InputError, match="are needed"):
        calibration.temperature(np.zeros((3, 6)), np.zeros(3, int))


def test_table_shows_each_network_on_each_set():
    runs = Runs(final=[fake_runs.FakeRun(0.6, confidence=2.0)], efficientnet=[fake_runs.FakeRun(0.6, confidence=9.0)])
    table = tables.calibration_table(runs)
    assert len(table) == 12 and set(table.network) == {"final", "EfficientNetB0 (random weights)"}
    assert (table["loss at it"] <= table["loss"] + 1e-9).all()
    assert (table["loss at best"] <= table["loss at it"] + 1e-9).all()
    sure = table[table.network != "final"]
    assert (sure["temperature"] > 2).all() and (sure["ECE"] > 0.35).all() and (sure["ECE at it"] < 0.01).all()
