"""Skill and confidence told apart: the loss that a network would have at its best level of confidence.

The report's headline is a lower test loss. Cross-entropy punishes a network that is sure and wrong, so a loss can fall
because more images are recognised (skill) or because the network is less sure of itself (confidence). Dividing all
logits by one number, the temperature, changes confidence alone: no image is recognised that was not before. The
temperature is fitted on the validation images, never on the images that are reported. Those of the report's networks
are clean: what a distortion does to a network's confidence they cannot show. So beside it stands, as a diagnostic, the
temperature that is best for the very images in question.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv:1706.04599).
"""

from __future__ import annotations

import numpy as np
from scipy import optimize, special

from ferhelpers import evaluation
from ferhelpers.data import CLASSES
from ferhelpers.runs import Run

TEMPERATURES = (0.05, 10_000.0)
BINS = 15


def temperature(logits, labels) -> float:
    """The number, 0.05 to 10,000, by which the logits are divided for the lowest cross-entropy; above 1: too sure.

    Args:
        logits: float (N, 7).
        labels: int (N,), 0..6.

    Raises:
        InputError: as evaluation.losses.
    """
    best = optimize.minimize_scalar(
        lambda logarithm: evaluation.cross_entropy(logits / np.exp(logarithm), labels),
        bounds=tuple(np.log(TEMPERATURES)),
        method="bounded",
    )
    return float(np.exp(best.x))


def run_temperature(run: Run) -> float:
    """A run's `temperature`, from its validation images (its test images, where its experiment validates on these).

    Of a network that is meant for distorted images, these count as they are and with the general distortions.
    """
    sets = ["validation"] + ["validation/distorted"] * run.views
    logits, labels = (np.concatenate([of(name) for name in sets]) for of in (run.logits, run.labels))
    return temperature(logits, labels)


def calibration_error(logits, labels) -> float:
    """Expected calibration error, 0..1: the mean gap between confidence and accuracy, in 15 bins of confidence."""
    confidence = special.softmax(np.asarray(logits, dtype=np.float64), axis=1).max(axis=1)
    gaps = evaluation.correct(logits, labels) - confidence
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bins, gaps)).sum() / len(gaps))


def brier(logits, labels) -> float:
    """Brier score, 0..2: squared distance of the predicted probabilities from the truth, summed over the classes."""
    probabilities = special.softmax(np.asarray(logits, dtype=np.float64), axis=1)
    return float(((probabilities - np.eye(len(CLASSES))[labels]) ** 2).sum(axis=1).mean())
