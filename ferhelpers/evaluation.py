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
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from ferhelpers import distortions
from ferhelpers.errors import InputError

CLASS_COUNT = 7
LAYOUTS = (  # test set, and how much of it: the report's section, a fifth of the images, or the whole
    ("clean", "whole"),
    ("private", "whole"),
    *((name, "section") for name in distortions.NAMES),
    ("distorted_overall", "whole"),
    *((name, "whole") for name in distortions.NAMES),
)
CONFIDENCE = 0.95
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
RESAMPLES = 2000
CAP = np.log(1000)  # of an image's loss in a capped mean: the loss of a true class that is given 1 in 1,000


def _checked(logits, labels):
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if logits.ndim != 2 or logits.shape[1] != CLASS_COUNT or len(logits) == 0 or labels.shape != logits.shape[:1]:
        raise InputError(
            f"logits {logits.shape}, labels {labels.shape}: (N, {CLASS_COUNT}) and (N,) with N >= 1 are needed"
        )
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


def difference_interval(first: float, n: int, second: float, m: int) -> tuple[float, float]:
    """95 % interval of the first accuracy minus the second, measured on n and on m other images.

    Source: Newcombe 1998, by statsmodels. Used in: 04, 05, 07.
    """
    return confint_proportions_2indep(
        round(first * n), n, round(second * m), m, method="newcomb", compare="diff", alpha=1 - CONFIDENCE
    )


class Difference(NamedTuple):
    """First classifier minus second, on the same images."""

    value: float
    low: float  # of the 95 % interval
    high: float
    p: float  # of "no difference"
    n: int  # images


def paired(a, b, seed: int = 0, same_networks: bool = False) -> Difference:
    """Difference in mean of two classifiers' values on the same images.

    Args:
        a, b: (N,) one value an image, such as `correct` or `losses`; or (seeds, N), one row a trained network.
        seed: of the bootstrap.
        same_networks: whether row by row a and b are of one trained network, on two versions of the images.

    Returns:
        Difference: mean(a) - mean(b), its 95 % interval (percentile bootstrap over images, the same drawn for both
        classifiers, and over the seeds of each, of which few widen it), the p value of "no difference" (one network each: McNemar's
        exact test where all values are 0 or 1, else the paired t test; several: from the same bootstrap, so at least
        2 / (RESAMPLES + 1)), and N. Where few images carry most of a mean, as in the losses under salt and pepper, the interval is
        too narrow.

    Raises:
        InputError: the values are not of the same images, or of fewer than two; or one side has several seeds and the other a
            single one, whose luck cannot be seen.

    Source: Efron and Tibshirani 1993, chapters 13 (percentile interval) and 16 (p value); McNemar 1947. Used in: 03 to 07.
    """
    a, b = np.atleast_2d(np.asarray(a, dtype=np.float64)), np.atleast_2d(np.asarray(b, dtype=np.float64))
    if a.shape[1:] != b.shape[1:] or a.ndim != 2 or a.shape[1] < 2:
        raise InputError(f"values {a.shape} and {b.shape}: two classifiers are compared on the same two or more images")
    if len(a) != len(b) and (same_networks or 1 in (len(a), len(b))):
        raise InputError(f"{len(a)} and {len(b)} trained networks: compare a single one with a single one")
    value = a.mean() - b.mean()
    rng = np.random.default_rng(seed)
    if same_networks:
        resampled = _resampled_means(a - b, seed, rng)
    else:
        resampled = _resampled_means(a, seed, rng) - _resampled_means(b, seed, rng)
    low, high = np.quantile(resampled, TAILS)
    if len(a) > 1:
        p = min(1.0, 2 * (1 + min(np.sum(resampled <= 0), np.sum(resampled >= 0))) / (RESAMPLES + 1))
    elif np.isin((a, b), (0, 1)).all():
        p = mcnemar([[np.sum(a * b), np.sum(a > b)], [np.sum(a < b), np.sum((a == 0) & (b == 0))]], exact=True).pvalue
    elif np.ptp(a - b) == 0:  # no spread: the t test is undefined
        p = 1.0 if value == 0 else 0.0
    else:
        p = stats.ttest_rel(a[0], b[0]).pvalue
    return Difference(float(value), float(low), float(high), float(p), a.shape[1])


def mean_interval(values, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean, by the percentile bootstrap.

    Args:
        values: (N,) one value an image; or (seeds, N): then seeds are drawn as well as images, and few seeds widen the interval.
        seed: of the bootstrap.

    Returns:
        (low, high); NaN where there is only one image. Where few images carry most of the mean, as in the losses under salt
        and pepper and speckle, it is too narrow.

    Source: Efron and Tibshirani 1993, chapter 13. Used in: 03 to 07.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if values.shape[1] < 2:
        return np.nan, np.nan
    low, high = np.quantile(_resampled_means(values, seed, np.random.default_rng(seed)), TAILS)
    return float(low), float(high)


def _resampled_means(values, seed, rng) -> np.ndarray:
    """(RESAMPLES,) means of `values` (seeds, N), with images drawn by `seed` and, for each, as many seeds drawn by `rng`.

    A bootstrap of two or three seeds is far too narrow. So its deviations are stretched, by what the bootstrap's variance lacks
    and by the ratio of Student's quantile to the normal one: with two seeds ninefold, with three by 2.7, with thirty hardly.
    """
    by_seed = _image_weights(values.shape[1], seed, RESAMPLES) @ values.T
    means, seeds = by_seed.mean(axis=1), len(values)
    if seeds == 1:
        return means
    drawn = np.take_along_axis(by_seed, rng.integers(0, seeds, by_seed.shape), axis=1).mean(axis=1)
    stretch = np.sqrt(seeds / (seeds - 1)) * stats.t.ppf(TAILS[1], seeds - 1) / stats.norm.ppf(TAILS[1])
    return means + stretch * (drawn - means)


@functools.lru_cache(maxsize=3)
def _image_weights(n, seed, resamples) -> np.ndarray:
    """float64 (resamples, n): how often each image is in a sample of n images drawn with replacement, over n."""
    rng = np.random.default_rng(seed)
    return np.stack([np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(resamples)]) / n


def predictions(run, test_set: str, layout: str = "whole") -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 7) and labels (N,) of one of LAYOUTS, from a run as in `scores`."""
    if test_set in distortions.NAMES and layout == "section":
        part = distortions.section(test_set, len(run.labels("sections")))
        return run.logits("sections")[part], run.labels("sections")[part]
    stored = "sections" if test_set == "distorted_overall" else test_set
    return run.logits(stored), run.labels(stored)


def scores(run) -> pd.DataFrame:
    """Every test set of a run, scored from its logits.

    Args:
        run: anything with `logits(name)` -> (N, 7) and `labels(name)` -> (N,) for the names of `distortions.test_sets`.

    Returns:
        DataFrame, one row for each of LAYOUTS: test_set, layout, n, accuracy, loss, median_loss, capped_loss (the mean of
        losses of at most CAP each), low, high (95 % interval of the accuracy), loss_low, loss_high. `distorted_overall` is the five sections taken together.

    Used in: every training, and through its metrics.json in 03 to 07.
    """
    rows = []
    for test_set, layout in LAYOUTS:
        logits, labels = predictions(run, test_set, layout)
        share, of_images = accuracy(logits, labels), losses(logits, labels)
        rows.append(
            (
                test_set,
                layout,
                len(labels),
                share,
                of_images.mean(),
                np.median(of_images),
                np.minimum(of_images, CAP).mean(),
                *accuracy_interval(share, len(labels)),
                *mean_interval(of_images),
            )
        )
    columns = (
        "test_set",
        "layout",
        "n",
        "accuracy",
        "loss",
        "median_loss",
        "capped_loss",
        "low",
        "high",
        "loss_low",
        "loss_high",
    )
    return pd.DataFrame(rows, columns=list(columns))


MEASURES = {"accuracy": correct, "loss": losses}  # of each image; their means are the metrics


def constant_prediction(labels) -> tuple[float, float]:
    """Accuracy and loss of the best constant prediction, which needs no network.

    For accuracy that is the commonest class, for loss the share of each class as its probability: the entropy of the labels.
    """
    counts = np.bincount(labels)
    return float(counts.max() / counts.sum()), float(stats.entropy(counts))


def chance_agreement(matrix) -> float:
    """The trace over the sum that a matrix (7, 7) would have if its predictions knew nothing of the labels."""
    return float(matrix.sum(axis=0) @ matrix.sum(axis=1) / matrix.sum() ** 2)


def shuffled_confusion(logits, labels, seed: int = 0) -> np.ndarray:
    """How a matrix like the report's arises: predictions counted against labels in another order.

    A generator that shuffles gives its images to `predict` in one order and its labels, read in a second pass, in
    another. The row sums stay right, and everything else is chance.

    Args:
        logits: float (N, 7).
        labels: int (N,).
        seed: of the shuffle.

    Returns:
        int (7, 7), rows true, columns predicted.
    """
    return confusion(logits, np.random.default_rng(seed).permutation(labels))
