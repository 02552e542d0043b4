"""Two networks on the same test images: by how much they differ, and what a difference is made of.

An interval covers the choice of images and of seeds (`evaluation.paired`). Where both networks have few seeds, how far
these lie apart is assumed (`evaluation.seed_spread`).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable

import numpy as np
import pandas as pd

from ferhelpers import calibration, evaluation
from ferhelpers.evaluation import Difference
from ferhelpers.published import DIGITS, TEST_SETS, published_value
from ferhelpers.runs import NOT_RUN, Run, Runs

OTHERWISE = "trained otherwise"


def differences(
    runs: Runs, pairs: Iterable[tuple[str, str, str]], metric: str, share: float = 1.0
) -> dict[str, Difference]:
    """Compare networks on whole test sets.

    Args:
        pairs: (better network, worse network, test set), as a claim or the report has them.
        metric: "accuracy" or "loss".
        share: of the worse network's loss, which the better one's is compared with.

    Returns:
        What was compared -> the difference; a positive one says that the first network is better.

    Raises:
        InputError: two networks were tested on different images.
    """
    results = {}
    for better, worse, test_set in pairs:
        a, b = (runs.per_image(name, test_set, metric) for name in (better, worse))
        sides = (a, b) if metric == "accuracy" else (share * b, a)
        label = f"{runs.label(better)} against {runs.label(worse)} on {test_set}"
        results[label] = difference(runs, (better, worse), test_set, metric, *sides)
    return results


def difference(
    runs: Runs, two: tuple[str, str], test_set: str, metric: str, a: np.ndarray, b: np.ndarray
) -> Difference:
    """`evaluation.paired` of values of two networks, with the spread between seeds that is stated for them.

    Args:
        two: names of the networks.
        metric: "accuracy" or "loss", which the values are of.
        a, b: (seeds, N), one value an image of the whole test set.

    Raises:
        InputError: the two were tested on different images.
    """
    runs.labels(test_set, *two)
    spread = evaluation.seed_spread(test_set, metric, a, b, annealed=runs.annealed(*two))
    return evaluation.paired(a, b, spread)


def clear(found: Collection[Difference], lacking: int = 0) -> tuple[int, int]:
    """How many are clearly positive, and how many clearly negative.

    That is: the 95 % interval lies on that side of 0, and p < 0.05 after Holm's correction over all of them and over
    others that are `lacking`, whose p is 1.
    """
    better = worse = 0  # by hand: statsmodels' multipletests collects Python's garbage at every call
    for rank, each in enumerate(sorted(found, key=lambda each: each.p)):
        if each.p * (len(found) + lacking - rank) > 0.05:
            break
        better, worse = better + (each.low > 0), worse + (each.high < 0)
    return better, worse


def compared(runs: Runs, first: str, second: str) -> pd.DataFrame:
    """Two networks on the same images: the first minus the second, on every whole test set.

    Args:
        first, second: names of experiments.

    Returns:
        DataFrame, one row a test set: test set, then for accuracy and for loss: each network | difference | its 95 %
        interval | p of "no difference" (evaluation.paired; not corrected for the number of rows). Where one was not
        run, a table that says so.
    """
    if (missing := runs.not_run(first, second)) is not None:
        return missing
    rows = []
    for test_set in (*TEST_SETS, "private"):
        row = {"test set": test_set}
        for metric in DIGITS:
            a, b = (runs.per_image(name, test_set, metric) for name in (first, second))
            change = difference(runs, (first, second), test_set, metric, a, b)
            row |= {
                f"{metric}: {runs.label(first)}": a.mean(),
                f"{metric}: {runs.label(second)}": b.mean(),
                f"{metric}: difference": f"{change.value:+.3f}",
                f"{metric}: 95 % interval": f"{change.low:+.3f} to {change.high:+.3f}",
                f"{metric}: p": f"{change.p:.2g}",
            }
        rows.append(row)
    return pd.DataFrame(rows)


def loss_gaps(runs: Runs, first: str, second: str) -> pd.DataFrame:
    """How much of the gap in loss between two networks is confidence, and how much skill; means over seeds.

    Confidence is what goes when each training is at the temperature of its validation images. What is left is skill on
    clean images; on distorted ones it may hold confidence that clean images do not show.

    Args:
        first, second: names of experiments.

    Returns:
        DataFrame, one row a whole test set: test set, gap in loss (first minus second), confidence, left, its 95 %
        interval (`evaluation.paired`), left at best (each training at the best temperature for this test set,
        by its labels: a diagnostic). Where one was not run, a table that says so.
    """
    if (missing := runs.not_run(first, second)) is not None:
        return missing
    rows = []
    for test_set in TEST_SETS:
        a, b = (_losses(runs[name], test_set) for name in (first, second))
        gap, _, best = a.mean(axis=(1, 2)) - b.mean(axis=(1, 2))
        left = difference(runs, (first, second), test_set, "loss", a[1], b[1])
        rows.append(
            {
                "test set": test_set,
                "gap in loss": gap,
                "confidence": gap - left.value,
                "left": left.value,
                "95 % interval of left": f"{left.low:+.3f} to {left.high:+.3f}",
                "left at best": best,
            }
        )
    return pd.DataFrame(rows)


def _losses(seeds: list[Run], test_set: str) -> np.ndarray:
    """(3, seeds, N): as they are, at the temperature of the validation images, at the best one for this test set."""
    losses = []
    for run in seeds:
        logits, labels = run.logits(test_set), run.labels(test_set)
        temperatures = 1, calibration.run_temperature(run), calibration.temperature(logits, labels)
        losses.append([evaluation.losses(logits / temperature, labels) for temperature in temperatures])
    return np.swapaxes(losses, 0, 1)


def rankings(runs: Runs) -> pd.DataFrame:
    """Is the report's ranking of each two networks reproduced?

    Args:
        runs: of networks of the report's tables, each two of which are compared.

    Returns:
        DataFrame, one row a pair: networks, epochs (that they were trained, of the report's); then for accuracy and for
        loss: on how many whole test sets the better one is the report's ("5 of 6"; sets on which the report has a tie
        are left out), on how many clearly, and on how many the other one is clearly better (see `clear`). "not run", or
        "trained otherwise" where the two had no common schedule.

    Source: report, Tables 3-14.
    """
    rows = []
    for two in itertools.combinations(runs, 2):
        epochs = dict.fromkeys(runs.epochs(name) for name in two)
        row = {"networks": " and ".join(runs.label(name) for name in two), "epochs": ", ".join(epochs)}
        for metric in DIGITS:
            if not all(runs[name] for name in two):
                cells = (NOT_RUN,) * 3
            elif not runs.one_schedule(*two):
                cells = (OTHERWISE,) * 3
            else:
                found = differences(runs, _report_ranking(two, metric), metric).values()
                cells = f"{sum(each.value > 0 for each in found)} of {len(found)}", *clear(found)
            columns = f"{metric}: as in the report", f"{metric}: clearly", f"{metric}: clearly reversed"
            row |= zip(columns, cells)
        rows.append(row)
    return pd.DataFrame(rows)


def _report_ranking(two: tuple[str, str], metric: str) -> list[tuple[str, str, str]]:
    """(better network, worse network, test set), as the report has them; without its ties."""
    pairs = []
    for test_set in TEST_SETS:
        first, second = (published_value(name, test_set, metric) for name in two)
        if first != second:
            pairs.append((*(two if (first > second) == (metric == "accuracy") else reversed(two)), test_set))
    return pairs
