"""The report's numbers, as printed, and what its networks are called."""

from __future__ import annotations

import functools
import json
from importlib import resources

import numpy as np
import pandas as pd

from ferhelpers import distortions
from ferhelpers.errors import InputError

TEST_SETS = ("clean", *distortions.NAMES)  # the report's six
DIGITS = {"accuracy": 3, "loss": 2}  # as published
NETWORKS = {  # experiment -> its name in tables
    "baseline_test_validation": "baseline, validation = test",
    "baseline": "baseline",
    "blocks_1": "1 block",
    "blocks_2": "2 blocks",
    "blocks_3": "3 blocks",
    "blocks_4": "4 blocks, dropout 0.3",
    "blocks_5": "5 blocks",
    "listing": "5 blocks, wired as listed",
    "no_normalisation": "5 blocks, no normalisation",
    "dropout_0.5": "4 blocks, dropout 0.5",
    "dropout_0.65": "4 blocks, dropout 0.65",
    "final": "final",
    "efficientnet": "EfficientNetB0",
    "lite_frozen": "EfficientNet-Lite0, frozen",
    "lite": "EfficientNet-Lite0",
}
ROBUST = {  # the networks of notebook 09, which the report has not
    "robust_clean": "A (clean images)",
    "robust_general": "B (general distortions)",
    "robust_report": "C (also the report's)",
    "robust_without_gaussian_blur": "B without blur",
    "robust_without_gaussian_noise": "B without noise",
    "robust_without_salt_pepper": "B without impulses",
    "robust_without_speckle": "B without speckle",
    "robust_without_occlusion": "B without squares",
    "robust": "C, larger",
}
_EXPERIMENTS = {  # factor -> how its level is called as an experiment
    "baseline": {"validation=test": "baseline_test_validation", "separate validation": "baseline"}.get,
    "blocks": "blocks_{}".format,
    "dropout": lambda rate: "blocks_4" if rate == "0.3" else f"dropout_{rate}",
    "model": str,
}


@functools.cache
def _published() -> pd.DataFrame:
    with resources.files("ferhelpers").joinpath("published/report_tables.csv").open() as file:
        frame = pd.read_csv(file, dtype={"table": str, "level": str})
    frame["experiment"] = [_EXPERIMENTS[factor](level) for factor, level in zip(frame["factor"], frame["level"])]
    return frame


def pair(accuracy: float, loss: float) -> str:
    """A cell of a table: "0.596 / 1.10"."""
    return f"{accuracy:.{DIGITS['accuracy']}f} / {loss:.{DIGITS['loss']}f}"


def apart(here, reported) -> dict[str, str]:
    """How far scores are from the report's: the mean distance of accuracies, and the mean factor between losses.

    Args:
        here, reported: (n, 2), rows of accuracy and loss. The factor is at least 1, whichever loss is the larger.
    """
    here, reported = np.asarray(here, dtype=float), np.asarray(reported, dtype=float)
    distance = np.abs(here - reported)[:, 0].mean()
    factor = np.exp(np.abs(np.log(here / reported)))[:, 1].mean()
    return {"distance: accuracy": f"{distance:.3f}", "factor: loss": f"{factor:.2f}"}


def published(table: str | None = None) -> pd.DataFrame:
    """The report's accuracies and losses.

    Args:
        table: "1" to "20", "6.1.2", "6.1.3" (single results given in those sections), or None for all.

    Returns:
        DataFrame in the report's order: table, factor, level, test_set, accuracy (0..1), loss (nats), experiment.

    Raises:
        InputError: no such table.

    Source: report, Tables 1-20.
    """
    frame = _published()
    if table is None:
        return frame.copy()
    if table not in set(frame["table"]):
        raise InputError(f'table {table!r} is not in the report: choose "1" to "20", "6.1.2" or "6.1.3"')
    return frame[frame["table"] == table].reset_index(drop=True)


def test_set(table: str) -> str:
    """The test set of one of Tables 3 to 20, in words: "salt pepper"."""
    return published(table).test_set.iloc[0].replace("_", " ")


@functools.cache
def by_network() -> pd.DataFrame:
    """Accuracy and loss of each network on each test set; the index is (experiment, test_set)."""
    keys = ["experiment", "test_set"]
    return _published().drop_duplicates(keys).set_index(keys)[list(DIGITS)]


def published_value(experiment: str, test_set: str, metric: str) -> float:
    """One number of the report's tables; where it has none for the distorted test set, the mean of its sections."""
    lines = by_network()[metric][experiment]
    if test_set == "distorted_overall" and test_set not in lines:
        return float(lines[list(distortions.NAMES)].mean())
    return float(lines[test_set])


def published_confusions() -> dict[str, np.ndarray]:
    """The report's confusion matrices: experiment -> int (7, 7), as printed. Source: report, 6.1.2, 6.1.3, 9."""
    text = resources.files("ferhelpers").joinpath("published/report_confusions.json").read_text()
    return {name: np.array(matrix) for name, matrix in json.loads(text).items()}
