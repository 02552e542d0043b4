"""Skill and confidence told apart: the loss that a network would have if it were as sure of itself as it may be.

The report's headline is a lower test loss. Cross-entropy punishes a network that is sure and wrong, so a loss can fall
because more images are recognised (skill) or because the network is less sure of itself (confidence). Dividing all logits
by one number, the temperature, changes confidence alone: no image is recognised that was not before. The temperature is
fitted on the validation images, never on the images that are reported. These are clean: what a distortion does to a network's
confidence they cannot show. So beside it stands, as a diagnostic, the temperature that is best for the very images in question.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import optimize, special

from ferhelpers import evaluation, report

TEMPERATURES = (0.05, 10_000.0)
BINS = 15


def temperature(logits, labels) -> float:
    """The number, 0.05 to 10,000, that the logits have to be divided by for the lowest cross-entropy; above 1: too sure.

    Args:
        logits: float (N, 7).
        labels: int (N,), 0..6.

    Raises:
        InputError: as evaluation.losses.
    """
    found = optimize.minimize_scalar(
        lambda logarithm: evaluation.cross_entropy(logits / np.exp(logarithm), labels),
        bounds=tuple(np.log(TEMPERATURES)),
        method="bounded",
    )
    return float(np.exp(found.x))


def run_temperature(run) -> float:
    """A run's `temperature`, from its validation images (which are the test images where its experiment validates on these)."""
    return temperature(run.logits("validation"), run.labels("validation"))


def calibration_error(logits, labels) -> float:
    """Expected calibration error, 0..1: the mean gap between confidence and accuracy, in 15 equal bins of confidence."""
    confidence = special.softmax(np.asarray(logits, dtype=np.float64), axis=1).max(axis=1)
    gaps = evaluation.correct(logits, labels) - confidence
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, gaps)).sum() / len(gaps))


def brier(logits, labels) -> float:
    """Brier score, 0..2: squared distance of the predicted probabilities from the truth, summed over the classes."""
    probabilities = special.softmax(np.asarray(logits, dtype=np.float64), axis=1)
    return float(((probabilities - np.eye(evaluation.CLASS_COUNT)[labels]) ** 2).sum(axis=1).mean())


def table(runs: dict) -> pd.DataFrame:
    """Loss, loss at two temperatures, calibration error and Brier score, of the first seed of each network.

    Args:
        runs: name -> its runs.

    Returns:
        DataFrame, one row a whole test set and network: test set, network, temperature (fitted on validation images), loss, loss
        at it, ECE, ECE at it, Brier score; best temperature (for this test set, by its labels: a diagnostic), loss at best.

    Used in: 06.
    """
    fitted = {
        report.network_name(runs, name): (found[0], run_temperature(found[0])) for name, found in runs.items() if found
    }
    if not fitted:
        return report.not_run(runs, *runs)
    rows = []
    for test_set in report.TEST_SETS:
        for network, (run, degree) in fitted.items():
            logits, labels = run.logits(test_set), run.labels(test_set)
            best = temperature(logits, labels)
            row = {"test set": test_set, "network": network, "temperature": degree}
            for score, name in ((evaluation.cross_entropy, "loss"), (calibration_error, "ECE")):
                row |= {name: score(logits, labels), f"{name} at it": score(logits / degree, labels)}
            at_best = evaluation.cross_entropy(logits / best, labels)
            rows.append(
                {**row, "Brier score": brier(logits, labels), "best temperature": best, "loss at best": at_best}
            )
    return pd.DataFrame(rows)


def gaps(runs: dict, first: str, second: str) -> pd.DataFrame:
    """How much of the gap in loss between two networks is confidence, and how much skill.

    Confidence is what goes when each network is at the temperature of its validation images. What is left is skill on clean images;
    on distorted ones it may hold confidence that clean images do not show.

    Args:
        runs: name -> its runs; the first seed of each is compared.

    Returns:
        DataFrame, one row a whole test set: test set, gap in loss (first minus second), confidence, left, its 95 % interval (paired
        bootstrap over images), left at best (each network at the best temperature for this test set, by its labels: a
        diagnostic). Where one was not run, a table that says so.

    Used in: 05, 06, 07.
    """
    if (missing := report.not_run(runs, first, second)) is not None:
        return missing
    pair = runs[first][0], runs[second][0]
    degrees = [run_temperature(run) for run in pair]
    rows = []
    for test_set in report.TEST_SETS:
        labels, logits = pair[0].labels(test_set), [run.logits(test_set) for run in pair]
        plain = [evaluation.cross_entropy(values, labels) for values in logits]
        cooled = [evaluation.losses(values / degree, labels) for values, degree in zip(logits, degrees)]
        best = [evaluation.cross_entropy(values / temperature(values, labels), labels) for values in logits]
        gap, left = plain[0] - plain[1], evaluation.paired(*cooled)
        rows.append(
            (test_set, gap, gap - left.value, left.value, f"{left.low:+.3f} to {left.high:+.3f}", best[0] - best[1])
        )
    return pd.DataFrame(
        rows, columns=["test set", "gap in loss", "confidence", "left", "95 % interval of left", "left at best"]
    )
