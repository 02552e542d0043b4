"""Predictions -> accuracy, loss, confusion, intervals and paired comparisons. Numbers in, numbers out.

Logits are float (N, 7) before the softmax; labels are integers (N,), 0..6 in the order of `data.CLASSES`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special, stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from ferhelpers import distortions
from ferhelpers.data import CLASSES
from ferhelpers.errors import InputError

LAYOUTS = (  # test set, and how much of it: the report's section, a fifth of the images, or the whole
    ("clean", "whole"),
    ("private", "whole"),
    *((name, "section") for name in distortions.NAMES),
    ("distorted_overall", "whole"),
    *((name, "whole") for name in distortions.NAMES),
)
CONFIDENCE = 0.95
FEWEST = 3  # seeds that show how far seeds lie apart; with two, an interval would hang on one difference
# How far apart the seeds of one network lie, where fewer were trained: the standard deviation of the mean over all
# possible images. Where the learning rate falls to 0, these are above what results/README.md measures. Where it
# stays, seeds were not compared. In the last third of the stored histories validation accuracy scatters by 0.004 to
# 0.011 from epoch to epoch, validation loss by 1 to 13 %. Losses on distorted images are given five times the spread
# (distortions part networks that agree on clean images: D'Amour et al. 2022).
ACCURACY_SPREAD, DISTORTED_ACCURACY_SPREAD, RECALL_SPREAD = 0.01, 0.02, 0.03
LOSS_SPREAD, DISTORTED_LOSS_SPREAD = 0.05, 0.25  # as a share of the mean
ANNEALED_LOSS_SPREAD, ANNEALED_DISTORTED_LOSS_SPREAD = 0.025, 0.15  # where the learning rate falls to 0
CAP = np.log(1000)  # of an image's loss in a capped mean: the loss of a true class that is given 1 in 1,000


def _checked(logits, labels):
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if logits.ndim != 2 or logits.shape[1] != len(CLASSES) or len(logits) == 0 or labels.shape != logits.shape[:1]:
        raise InputError(
            f"logits {logits.shape}, labels {labels.shape}: (N, {len(CLASSES)}) and (N,) with N >= 1 are needed"
        )
    if not np.isfinite(logits).all():
        image = np.flatnonzero(~np.isfinite(logits).all(axis=1))[0]
        raise InputError(f"logits of image {image} are not finite: the network diverged, lower its learning rate")
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise InputError(f"labels run from {labels.min()} to {labels.max()}: they must lie in 0..{len(CLASSES) - 1}")
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
    """
    logits, labels = _checked(logits, labels)
    matrix = metrics.confusion_matrix(labels, logits.argmax(axis=1), labels=range(len(CLASSES)))
    assert matrix.trace() == correct(logits, labels).sum() and matrix.sum() == len(labels)
    return matrix


def recall(logits, labels) -> np.ndarray:
    """Share of each class's images recognised: float (7,), NaN for a class without images."""
    logits, labels = _checked(logits, labels)
    return metrics.recall_score(
        labels, logits.argmax(axis=1), labels=range(len(CLASSES)), average=None, zero_division=np.nan
    )


def accuracy_interval(accuracy: float, n: int) -> tuple[float, float]:
    """95 % Wilson interval of an accuracy measured on n images.

    Args:
        accuracy: 0..1.
        n: number of images.

    Returns:
        (low, high), 0..1.

    Source: Wilson 1927, by statsmodels.
    """
    low, high = proportion_confint(accuracy * n, n, alpha=1 - CONFIDENCE, method="wilson")
    return max(0.0, min(float(low), accuracy)), min(1.0, max(float(high), accuracy))  # rounding can leave it outside


def difference_interval(first: float, n: int, second: float, m: int) -> tuple[float, float]:
    """95 % interval of the first accuracy minus the second, measured on n and on m other images.

    Source: Newcombe 1998, by statsmodels.
    """
    return confint_proportions_2indep(
        round(first * n), n, round(second * m), m, method="newcomb", compare="diff", alpha=1 - CONFIDENCE
    )


class Difference(NamedTuple):
    """First network minus second on the same images, or last epochs minus earlier ones."""

    value: float
    low: float  # of the 95 % interval
    high: float
    p: float  # of "no difference"
    n: int  # images, or epochs


def paired(a, b, spread: float, same_networks: bool = False) -> Difference:
    """Difference in mean of two networks' values on the same images.

    The model: a value is the mean of its network, plus a part of the seed, a part of the image, and a rest of its own.
    New seeds and new images would both change the difference, so its variance has two parts. That of the images is the
    variance of an image's difference, over N; it holds the rest. That of the seeds is, for each network, the variance
    of its seeds' means, less the share that their rests explain, over the number of seeds. All seeds see the same
    images: more seeds do not lower the part of the images. Interval and p are those of Student's t, its degrees of
    freedom by Welch and Satterthwaite.

    Fewer than FEWEST seeds do not show how far seeds lie apart. Where both networks have so few, `spread` says it (but
    two seeds that lie further apart than that count as they are); where one has enough, theirs counts for both.

    Args:
        a, b: (N,) one value an image, such as `correct` or `losses`; or (seeds, N), one row a trained network.
        spread: standard deviation between seeds of a network's mean over all possible images, in the units of the
            values, where neither network has FEWEST seeds (see `seed_spread`); 0 for the difference of these trained
            networks. Stated at half its size, the test calls 4 to 30 % of equal networks different; at its double,
            at most 2 %. A spread that was measured on test images holds the rests, too: it is on the safe side.
        same_networks: whether row by row a and b are of one trained network, on two versions of the images. With one
            row the difference is that of this trained network, without a part of the seed. `spread` is not used.

    Returns:
        Difference: mean(a) - mean(b), its 95 % interval, the p value of "no difference" (of `same_networks` with one
        row of 0 and 1: McNemar's exact test), and N. Where few images carry most of a mean, as in the losses under salt
        and pepper, the test calls 2 to 5 % of equal networks different, and misses more of the true differences; where
        they carry only one of the two means, it calls somewhat more than 5 % different. Error rates by simulation:
        `benchmarks/error_rates.csv`.

    Raises:
        InputError: the values are not of the same images, or of fewer than two; or `same_networks` differ in number.

    Source: Gallas, Pennello and Myers 2007 (readers and cases, here seeds and images); Satterthwaite 1946; Bouthillier
    et al. 2021 (why seeds must count); Jordan 2024 (spread on all possible images against spread on test images);
    D'Amour et al. 2022 (seeds under distortion); McNemar 1947.
    """
    a, b = np.atleast_2d(np.asarray(a, dtype=np.float64)), np.atleast_2d(np.asarray(b, dtype=np.float64))
    if a.shape[1:] != b.shape[1:] or a.ndim != 2 or a.shape[1] < 2:
        raise InputError(f"values {a.shape} and {b.shape}: two networks are compared on the same two or more images")
    if same_networks and len(a) != len(b):
        raise InputError(f"{len(a)} and {len(b)} trained networks: the same networks are needed on both sides")
    value, of_image = a.mean() - b.mean(), a.mean(axis=0) - b.mean(axis=0)
    parts = _seeds([a - b], 0.0, least=2) if same_networks else _seeds([a, b], spread)
    low, high, p = _student(value, [_images(of_image), *parts])
    if same_networks and len(a) == 1 and np.isin((a, b), (0, 1)).all():
        p = mcnemar([[np.sum(a * b), np.sum(a > b)], [np.sum(a < b), np.sum((a == 0) & (b == 0))]], exact=True).pvalue
    return Difference(float(value), low, high, float(p), a.shape[1])


def seed_spread(test_set: str, metric: str, *values: np.ndarray, annealed: bool) -> float:
    """The standard deviation between seeds that `paired` is given.

    Args:
        test_set: one of the test sets, or "validation".
        metric: "accuracy" or "loss".
        values: of each network, one an image; a spread of losses is a share of their means (root mean square).
        annealed: whether the learning rate fell to 0.

    Returns:
        Standard deviation in the units of the values.
    """
    clean = test_set in ("clean", "private", "validation")
    if metric == "accuracy":
        return ACCURACY_SPREAD if clean else DISTORTED_ACCURACY_SPREAD
    constant = LOSS_SPREAD if clean else DISTORTED_LOSS_SPREAD
    falling = ANNEALED_LOSS_SPREAD if clean else ANNEALED_DISTORTED_LOSS_SPREAD
    return (falling if annealed else constant) * float(np.sqrt(np.mean([of.mean() ** 2 for of in values])))


def mean_interval(values, spread: float) -> tuple[float, float]:
    """95 % interval of one network's mean over all possible images and seeds, by the model of `paired`.

    Args:
        values: (N,) one value an image; or (seeds, N), one row a trained network.
        spread: of fewer than FEWEST seeds, as in `paired`; 0 for the mean of these trained networks.

    Returns:
        (low, high); NaN where there is only one image. Where few images carry most of the mean, as in the losses under
        salt and pepper and speckle, it is too narrow: it misses the mean in 7 % of simulations.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if values.shape[1] < 2:
        return np.nan, np.nan
    return _student(values.mean(), [_images(values.mean(axis=0)), *_seeds([values], spread)])[:2]


class _Part(NamedTuple):
    """One part of the variance of a mean."""

    variance: float
    estimate: float  # the variance that it was computed from: it has the sampling error of this one
    degrees: float  # of freedom of the estimate


def _images(of_image) -> _Part:
    """What the choice of images adds; `of_image` (N,) holds the mean over seeds."""
    variance = of_image.var(ddof=1) / len(of_image)
    return _Part(variance, variance, len(of_image) - 1)


def _seeds(sides: list[np.ndarray], spread: float, least: int = FEWEST) -> list[_Part]:
    """What the choice of seeds adds; each side (seeds, N) holds the values of one network."""
    several = [side for side in sides if len(side) >= least]
    if len(several) == 2:
        return [_Part(*_between(side) / len(side), len(side) - 1) for side in sides]
    if several:
        share = sum(1 / len(side) for side in sides)
        return [_Part(*_between(several[0]) * share, len(several[0]) - 1)]
    parts = []
    for side in sides:
        variance = max(spread**2, _between(side)[0]) if len(side) > 1 else spread**2
        parts.append(_Part(variance / len(side), variance / len(side), np.inf))
    return parts


def _between(values) -> np.ndarray:
    """Variance between seeds over all possible images, at least 0, and over these images: (2,)."""
    observed = values.mean(axis=1).var(ddof=1)
    rest = (values.var(axis=0, ddof=1).mean() - observed) / (values.shape[1] - 1)
    return np.array((max(observed - rest, 0), observed))


def _student(value, parts: list[_Part]) -> tuple[float, float, float]:
    """(low, high, p) of a value whose variance is the sum of these parts."""
    variances, estimates, degrees = np.array(parts).T
    error = np.sqrt(variances.sum())
    if error == 0:
        return float(value), float(value), float(value == 0)
    with np.errstate(divide="ignore"):  # where all parts are stated: the normal distribution
        freedom = error**4 / np.sum(estimates**2 / degrees)
    half = error * stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    return float(value - half), float(value + half), float(2 * stats.t.sf(abs(value) / error, freedom))


def rise(curves, plateau: tuple[int, int]) -> Difference:
    """Does a curve end above its plateau? The mean of its last epochs minus that of the plateau's, as many.

    The epochs of one training are no independent sample: neighbours resemble each other. With several curves each gives
    one difference, and these are tested by Student's t, whatever its epochs do. With one curve the epochs from the
    plateau to the end are cut into blocks of the plateau's length. How far the means of blocks lie from a straight line
    through them says how sure the two outer means are (Student's t, two degrees of freedom fewer than blocks). A bend
    counts as scatter, too. With blocks of 11 epochs of 100 this holds for a correlation of up to 0.8 between
    neighbouring epochs (`benchmarks/error_rates.csv`).

    Args:
        curves: (epochs,) or (seeds, epochs), such as validation losses.
        plateau: its first and last epoch, counted from 1.

    Returns:
        Difference: of one curve for this training alone, of several for new seeds; both on these validation images. n:
        the epochs in the two means together.

    Raises:
        InputError: the curves are too short: several need two blocks from the plateau on, one needs three.

    Source: Law and Kelton 2000, section 9.5 (replications, batch means).
    """
    curves, (first, last) = np.atleast_2d(np.asarray(curves, dtype=np.float64)), plateau
    length, tail = last - first + 1, curves[:, first - 1 :]
    blocks, least = tail.shape[1] // length, 2 if len(curves) > 1 else 3
    if blocks < least:
        raise InputError(f"a curve of {curves.shape[1]} epochs: {first - 1 + least * length} or more are needed")
    starts = np.linspace(0, tail.shape[1] - length, blocks).round().astype(int)
    means = np.stack([tail[:, start : start + length].mean(axis=1) for start in starts], axis=1)
    values = means[:, -1] - means[:, 0]
    if len(curves) > 1:
        variance, degrees = values.var(ddof=1) / len(curves), len(curves) - 1
    else:
        residuals = np.polynomial.Polynomial.fit(starts, means[0], 1)(starts) - means[0]
        variance, degrees = 2 * np.sum(residuals**2) / (blocks - 2), blocks - 2
    return Difference(
        float(values.mean()), *_student(values.mean(), [_Part(variance, variance, degrees)]), n=2 * length
    )


def predictions(run, test_set: str, layout: str = "whole") -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, 7) and labels (N,) of any test set of a run, or of one of LAYOUTS, from a run as in `scores`."""
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
        DataFrame, one row for each of LAYOUTS: test_set, layout, n, accuracy, loss, median_loss, capped_loss (the mean
        of losses of at most CAP each), low, high (95 % interval of the accuracy), loss_low, loss_high. Both intervals
        are those of this trained network: they cover the choice of images alone. `distorted_overall` is the five
        sections taken together.
    """
    rows = []
    for test_set, layout in LAYOUTS:
        logits, labels = predictions(run, test_set, layout)
        share, of_images = accuracy(logits, labels), losses(logits, labels)
        row = {"test_set": test_set, "layout": layout, "n": len(labels), "accuracy": share, "loss": of_images.mean()}
        row |= {"median_loss": np.median(of_images), "capped_loss": np.minimum(of_images, CAP).mean()}
        row["low"], row["high"] = accuracy_interval(share, len(labels))
        row["loss_low"], row["loss_high"] = np.clip(mean_interval(of_images, 0), 0, None)
        rows.append(row)
    return pd.DataFrame(rows)


MEASURES = {"accuracy": correct, "loss": losses}  # of each image; their means are the metrics


def constant_prediction(labels) -> tuple[float, float]:
    """Accuracy and loss of the best constant prediction, which needs no network.

    For accuracy that is the commonest class. For loss it is each class's share as its probability: the entropy of the
    labels.
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
    """
    return confusion(logits, np.random.default_rng(seed).permutation(labels))
