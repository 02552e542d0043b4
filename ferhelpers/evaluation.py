"""Predictions -> accuracy, loss, confusion, intervals and paired comparisons. Numbers in, numbers out.

Logits are float (N, 7) before the softmax; labels are integers (N,), 0..6 in the order of `data.CLASSES`.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from ferhelpers import distortions
from ferhelpers.errors import InputError

CLASS_COUNT = 7
CONFIDENCE = 0.95
RESAMPLES = 2000


def _checked(logits, labels):
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if logits.ndim != 2 or logits.shape[1] != CLASS_COUNT or len(logits) == 0 or labels.shape != logits.shape[:1]:
        raise InputError(f"logits {logits.shape}, labels {labels.shape}: (N, {CLASS_COUNT}) and (N,) with N >= 1 are needed")
    if not np.isfinite(logits).all():
        image = np.flatnonzero(~np.isfinite(logits).all(axis=1))[0]
        raise InputError(f"logits of image {image} are not finite: the network diverged, lower its learning rate")
    if labels.min() < 0 or labels.max() >= CLASS_COUNT:
        raise InputError(f"labels run from {labels.min()} to {labels.max()}: they must lie in 0..{CLASS_COUNT - 1}")
    return logits, labels.astype(np.intp)


def correct(logits, labels) -> np.ndarray:
    """Which images are recognised: bool (N,); the lowest class wins a tie."""
    logits, labels = _checked(logits, labels)
    return logits.argmax(axis=1) == labels


def losses(logits, labels) -> np.ndarray:
    """Cross-entropy of each image in nats: float64 (N,), from the logits, so never clipped."""
    logits, labels = _checked(logits, labels)
    return -special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def accuracy(logits, labels) -> float:
    """Share of images recognised, 0..1."""
    return float(correct(logits, labels).mean())


def cross_entropy(logits, labels) -> float:
    """Mean cross-entropy in nats: the "test loss" of the report."""
    return float(losses(logits, labels).mean())


def confusion(logits, labels) -> np.ndarray:
    """Confusion matrix: int (7, 7), rows the true class, columns the predicted one.

    Its trace over its sum equals the accuracy; that is asserted, because the report's matrices fail it.

    Used in: 03, 06, 07.
    """
    logits, labels = _checked(logits, labels)
    matrix = metrics.confusion_matrix(labels, logits.argmax(axis=1), labels=range(CLASS_COUNT))
    assert matrix.trace() == correct(logits, labels).sum() and matrix.sum() == len(labels)
    return matrix


def recall(logits, labels) -> np.ndarray:
    """Share of each class's images recognised: float (7,), NaN for a class without images."""
    logits, labels = _checked(logits, labels)
    return metrics.recall_score(
        labels, logits.argmax(axis=1), labels=range(CLASS_COUNT), average=None, zero_division=np.nan
    )


def macro_f1(logits, labels) -> float:
    """Mean F1 over the classes that occur among labels or predictions, each class weighing the same."""
    logits, labels = _checked(logits, labels)
    return float(metrics.f1_score(
        labels, logits.argmax(axis=1), labels=range(CLASS_COUNT), average="macro", zero_division=np.nan
    ))


def accuracy_interval(accuracy: float, n: int) -> tuple[float, float]:
    """95 % Wilson interval of an accuracy measured on n images.

    Args:
        accuracy: 0..1.
        n: number of images.

    Returns:
        (low, high), 0..1.

    Source: Wilson 1927, by statsmodels. Used in: 03 to 07.
    """
    low, high = proportion_confint(accuracy * n, n, alpha=1 - CONFIDENCE, method="wilson")
    return max(0.0, min(float(low), accuracy)), min(1.0, max(float(high), accuracy))  # rounding can leave it outside


def loss_interval(losses) -> tuple[float, float]:
    """95 % Student interval of a mean loss, from the losses (N,) of its images; NaN where there is only one."""
    if len(losses) < 2:
        return np.nan, np.nan
    low, high = DescrStatsW(losses).tconfint_mean(alpha=1 - CONFIDENCE)
    return float(low), float(high)


class Difference(NamedTuple):
    """First classifier minus second, on the same images."""

    value: float
    low: float  # of the 95 % interval
    high: float
    p: float  # of "no difference"
    n: int  # images


def paired(a, b, seed: int = 0) -> Difference:
    """Difference in mean of two classifiers' values on the same images.

    Args:
        a, b: (N,) one value an image: `correct`, `losses`, or their mean over several seeds. With several seeds the
            interval still covers the choice of images alone.
        seed: of the bootstrap.

    Returns:
        Difference: mean(a) - mean(b), its 95 % interval (bootstrap over images, both classifiers drawn together), the
        p value of "no difference" (McNemar's exact test where all values are 0 or 1, else the paired t test), and N.

    Raises:
        InputError: the values are not of the same images, or of fewer than two.

    Source: Efron and Tibshirani 1993, chapter 13 (percentile bootstrap); McNemar 1947. Used in: 04, 05, 06, 07.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise InputError(f"values {a.shape} and {b.shape}: two classifiers are compared on the same two or more images")
    difference = a - b
    interval = stats.bootstrap(
        (difference,), np.mean, n_resamples=RESAMPLES, batch=100, vectorized=True, method="percentile",
        confidence_level=CONFIDENCE, rng=np.random.default_rng(seed),
    ).confidence_interval
    if np.isin((a, b), (0, 1)).all():
        p = mcnemar([[np.sum(a * b), np.sum(a > b)], [np.sum(a < b), np.sum((a == 0) & (b == 0))]], exact=True).pvalue
    elif np.ptp(difference) == 0:  # no spread: the t test is undefined
        p = 1.0 if difference[0] == 0 else 0.0
    else:
        p = stats.ttest_rel(a, b).pvalue
    return Difference(float(difference.mean()), float(interval.low), float(interval.high), float(p), len(a))


def compare(logits_a, logits_b, labels, seed: int = 0) -> dict[str, Difference]:
    """Two classifiers on the same images: {"accuracy": Difference, "loss": Difference}, a minus b.

    Args:
        logits_a, logits_b: float (N, 7).
        labels: int (N,), 0..6.
        seed: of the bootstrap.

    Used in: 06, 07.
    """
    return {
        "accuracy": paired(correct(logits_a, labels), correct(logits_b, labels), seed),
        "loss": paired(losses(logits_a, labels), losses(logits_b, labels), seed),
    }


@functools.lru_cache
def scores(run) -> pd.DataFrame:
    """Every test set of a run, scored from its stored logits; done once a run, so do not change what it returns.

    Args:
        run: anything with `logits(name)` -> (N, 7) and `labels(name)` -> (N,) for the names of `distortions.test_sets`.

    Returns:
        DataFrame, one row a test set: test_set, layout ("section": the report's fifth of the images; "whole": all of
        them), n, accuracy, loss, macro_f1, low, high (95 % interval of the accuracy), loss_low, loss_high.
        `distorted_overall` is the five sections taken together.

    Used in: 03 to 07.
    """
    sets = [("clean", "whole", "clean", slice(None)), ("private", "whole", "private", slice(None))]
    parts = distortions.sections(len(run.labels("sections")))
    sets += [(name, "section", "sections", part) for name, part in zip(distortions.NAMES, parts)]
    sets += [("distorted_overall", "whole", "sections", slice(None))]
    sets += [(name, "whole", name, slice(None)) for name in distortions.NAMES]
    rows = []
    for test_set, layout, stored, part in sets:
        logits, labels = run.logits(stored)[part], run.labels(stored)[part]
        share, of_images = accuracy(logits, labels), losses(logits, labels)
        rows.append((
            test_set, layout, len(labels), share, of_images.mean(), macro_f1(logits, labels),
            *accuracy_interval(share, len(labels)), *loss_interval(of_images),
        ))
    columns = ("test_set", "layout", "n", "accuracy", "loss", "macro_f1", "low", "high", "loss_low", "loss_high")
    return pd.DataFrame(rows, columns=list(columns))
