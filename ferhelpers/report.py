"""The report's numbers beside those of a run.

`runs` is everywhere a dict: name of the experiment (`NETWORKS`) -> list of runs, one a seed. An experiment that is
missing, or has an empty list, is shown as "not run". With several seeds a number is the mean over them, and intervals
cover the choice of test images, not that of the seed.
"""

from __future__ import annotations

import functools
import json
from importlib import resources

import numpy as np
import pandas as pd

from ferhelpers import distortions, evaluation
from ferhelpers.data import CLASSES
from ferhelpers.errors import InputError

NOT_RUN = "not run"
NOT_PUBLISHED = "not published"
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
    "no_normalisation": "5 blocks, no normalisation",
    "dropout_0.5": "4 blocks, dropout 0.5",
    "dropout_0.65": "4 blocks, dropout 0.65",
    "final": "final",
    "efficientnet": "EfficientNetB0",
}
_SAME_TRAINING = {"blocks_4": "dropout_0.3", "dropout_0.3": "blocks_4"}
_EXPERIMENTS = {  # factor -> how its level is called as an experiment
    "baseline": {"validation=test": "baseline_test_validation", "separate validation": "baseline"}.get,
    "blocks": "blocks_{}".format,
    "dropout": "dropout_{}".format,
    "model": str,
}


@functools.cache
def _published() -> pd.DataFrame:
    with resources.files("ferhelpers").joinpath("published/report_tables.csv").open() as file:
        frame = pd.read_csv(file, dtype={"table": str, "level": str})
    frame["experiment"] = [_EXPERIMENTS[factor](level) for factor, level in zip(frame["factor"], frame["level"])]
    return frame


def published(table: str | None = None) -> pd.DataFrame:
    """The report's accuracies and losses.

    Args:
        table: "1" to "20", "6.1.2", "6.1.3" (single results given in those sections), or None for all.

    Returns:
        DataFrame in the report's order: table, factor, level, test_set, accuracy (0..1), loss (nats), experiment.

    Raises:
        InputError: no such table.

    Source: report, Tables 1-20. Used in: 03 to 07.
    """
    frame = _published()
    if table is None:
        return frame.copy()
    if table not in set(frame["table"]):
        raise InputError(f'table {table!r} is not in the report: choose "1" to "20", "6.1.2" or "6.1.3"')
    return frame[frame["table"] == table].reset_index(drop=True)


def runs_of(runs: dict, experiment: str) -> list:
    """The runs of an experiment, [] where it was not run; dropout 0.3 and 4 blocks are one training."""
    return runs.get(experiment) or runs.get(_SAME_TRAINING.get(experiment)) or []


def network_name(runs: dict, experiment: str) -> str:
    """What tables call an experiment; EfficientNet with the weights that it started from."""
    name, found = NETWORKS.get(experiment) or NETWORKS[_SAME_TRAINING[experiment]], runs_of(runs, experiment)
    if experiment != "efficientnet" or not found:
        return name
    weights = found[0].config["experiment"]["weights"]
    start = {"none": "random weights", "imagenet": "ImageNet weights"}.get(weights, "weights from a file")
    return f"{name} ({start})"


def _measured(runs: list) -> pd.DataFrame:
    """`evaluation.scores`, mean over seeds, by (test_set, layout), and the range of accuracy and loss over them."""
    by_set = pd.concat([evaluation.scores(run) for run in runs]).groupby(["test_set", "layout"], sort=False)
    frame = by_set.mean()
    for metric in DIGITS:
        frame[f"{metric}_least"], frame[f"{metric}_most"] = by_set[metric].min(), by_set[metric].max()
    return frame


def _in_report_layout(scores: pd.DataFrame, test_set: str) -> pd.Series:
    """The row of `_measured` that the report's number stands beside: for a distortion, its section."""
    return scores.loc[(test_set, "section" if test_set in distortions.NAMES else "whole")]


def _span(low, high, digits) -> str:
    return "one image" if np.isnan(low) else f"{low:.{digits}f} to {high:.{digits}f}"


def _beside(metric, value, scores, test_set) -> dict:
    """The cells of one published number; `scores` from `_measured`, or None where nothing was run."""
    digits, columns = DIGITS[metric], ("this run", "whole set", "difference", "95 % interval", "inside")
    if scores is None:
        return {f"{metric}: report": f"{value:.{digits}f}", **{f"{metric}: {column}": NOT_RUN for column in columns}}
    whole, like = scores.loc[(test_set, "whole")], _in_report_layout(scores, test_set)
    low, high = like[["low", "high"] if metric == "accuracy" else ["loss_low", "loss_high"]]
    cells = (
        f"{like[metric]:.{digits}f}", f"{whole[metric]:.{digits}f}", f"{like[metric] - value:+.{digits}f}",
        _span(low, high, digits), "yes" if low <= value <= high else "no",
    )
    return {
        f"{metric}: report": f"{value:.{digits}f}",
        **{f"{metric}: {column}": cell for column, cell in zip(columns, cells)},
        f"{metric}: over seeds": _span(like[f"{metric}_least"], like[f"{metric}_most"], digits),
    }


def side_by_side(table: str, runs: dict) -> pd.DataFrame:
    """One published table beside the run.

    Args:
        table: "1" to "20", "6.1.2" or "6.1.3".
        runs: experiment -> list of runs.

    Returns:
        DataFrame, one row a published line: level (number of blocks, rate of dropout, network, or test set), then for
        accuracy and for loss: report | this run (in the report's layout: a distortion on its fifth of the test images) |
        whole set (the same distortion on all of them) | difference (this run - report) | 95 % interval of this run |
        inside (is the report's number in it?) | over seeds (range; only where there are several). "not run" where the
        network was not trained.

    Raises:
        InputError: no such table.

    Source: report, Tables 1-20. Used in: 03 to 07, and on the index page.
    """
    lines = published(table)
    scores = {name: _measured(runs_of(runs, name)) if runs_of(runs, name) else None for name in set(lines["experiment"])}
    rows = []
    for line in lines.itertuples():
        level = {"baseline": line.test_set, "model": network_name(runs, line.experiment) if line.factor == "model" else ""}
        row = {"level": level.get(line.factor, line.level)}
        for metric in DIGITS:
            row |= _beside(metric, getattr(line, metric), scores[line.experiment], line.test_set)
        rows.append(row)
    frame = pd.DataFrame(rows)
    seeds = [column for column in frame if column.endswith("over seeds")]
    if max(len(runs_of(runs, name)) for name in scores) < 2:
        return frame.drop(columns=seeds)
    return frame.fillna({column: NOT_RUN for column in seeds})


def overview(runs: dict) -> pd.DataFrame:
    """The study in one table: every network on clean and distorted test images.

    Args:
        runs: experiment -> list of runs.

    Returns:
        DataFrame, one row a network: network, seeds, accuracy and loss on the clean test set (report | this run, and the
        95 % interval of the accuracy), accuracy on PrivateTest, accuracy and loss on the distorted test set (the five
        sections together).

    Used in: the index page.
    """
    clean = published().query("test_set == 'clean'").drop_duplicates("experiment").set_index("experiment")
    rows = []
    for experiment in NETWORKS:
        found = runs_of(runs, experiment)
        report = dict.fromkeys(DIGITS, NOT_PUBLISHED)
        if experiment in clean.index:
            report = {metric: f"{clean.loc[experiment, metric]:.{digits}f}" for metric, digits in DIGITS.items()}
        row = {
            "network": network_name(runs, experiment), "seeds": len(found),
            "accuracy: report": report["accuracy"], "accuracy: this run": NOT_RUN, "accuracy: 95 % interval": NOT_RUN,
            "loss: report": report["loss"], "loss: this run": NOT_RUN,
            "PrivateTest accuracy": NOT_RUN, "distorted accuracy": NOT_RUN, "distorted loss": NOT_RUN,
        }
        if found:
            scores = _measured(found).xs("whole", level="layout")
            row |= {
                "accuracy: this run": f"{scores.accuracy['clean']:.3f}",
                "accuracy: 95 % interval": _span(scores.low["clean"], scores.high["clean"], 3),
                "loss: this run": f"{scores.loss['clean']:.2f}",
                "PrivateTest accuracy": f"{scores.accuracy['private']:.3f}",
                "distorted accuracy": f"{scores.accuracy['distorted_overall']:.3f}",
                "distorted loss": f"{scores.loss['distorted_overall']:.2f}",
            }
        rows.append(row)
    return pd.DataFrame(rows)


def class_recall_table(runs: dict) -> pd.DataFrame:
    """Recall of each class on the clean test set: the networks whose confusion matrices the report shows, and EfficientNet.

    Args:
        runs: experiment -> list of runs.

    Returns:
        DataFrame, one row a class: class, then for each network report (diagonal over row sum of its published matrix;
        see `defects.confusion_check` for why that is no recall) | this run.

    Used in: 03, 06, 07.
    """
    columns = {"class": list(CLASSES)}
    for experiment in ("baseline_test_validation", "baseline", "final", "efficientnet"):
        name, found = network_name(runs, experiment), runs_of(runs, experiment)
        if experiment in published_confusions():
            matrix = published_confusions()[experiment]
            columns[f"{name}: report"] = (matrix.diagonal() / matrix.sum(axis=1)).round(3)
        columns[f"{name}: this run"] = NOT_RUN
        if found:
            recalls = [evaluation.recall(run.logits("clean"), run.labels("clean")) for run in found]
            columns[f"{name}: this run"] = ["no images" if np.isnan(r) else round(r, 3) for r in np.mean(recalls, axis=0)]
    return pd.DataFrame(columns)


def published_confusions() -> dict[str, np.ndarray]:
    """The report's confusion matrices: experiment -> int (7, 7), as printed. Source: report, 6.1.2, 6.1.3, 9."""
    text = resources.files("ferhelpers").joinpath("published/report_confusions.json").read_text()
    return {
        experiment: np.array(matrix)
        for experiment, matrix in zip(("baseline_test_validation", "baseline", "final"), json.loads(text).values())
    }


def levels(tables: list[str], runs: dict, metric: str) -> pd.DataFrame:
    """Published tables as points to draw, in the report's layout.

    Args:
        tables: such as ["3", "4"]; each holds one test set.
        runs: experiment -> list of runs; a network that was not run is left out.
        metric: "accuracy" or "loss".

    Returns:
        DataFrame, one row a test set and level: test_set, level, measured, low, high (95 % interval), published.

    Used in: 04, 05, 06, 07.
    """
    interval = ["low", "high"] if metric == "accuracy" else ["loss_low", "loss_high"]
    rows = []
    for line in pd.concat([published(table) for table in tables]).itertuples():
        if found := runs_of(runs, line.experiment):
            like = _in_report_layout(_measured(found), line.test_set)
            level = network_name(runs, line.experiment) if line.factor == "model" else line.level
            rows.append((line.test_set, level, like[metric], *like[interval], getattr(line, metric)))
    return pd.DataFrame(rows, columns=["test_set", "level", "measured", "low", "high", "published"])


def recalls(runs: dict) -> pd.DataFrame:
    """Recall of each class on the clean test images as points to draw.

    Returns:
        DataFrame, one row a class and network: class, network, measured (0..1, mean over seeds), low, high (95 %
        interval); classes without images are left out.

    Used in: 06.
    """
    rows = []
    for experiment, found in runs.items():
        labels = found[0].labels("clean")
        shares = np.mean([evaluation.recall(run.logits("clean"), run.labels("clean")) for run in found], axis=0)
        for name, share, images in zip(CLASSES, shares, np.bincount(labels, minlength=len(CLASSES))):
            if images:
                rows.append((name, network_name(runs, experiment), share, *evaluation.accuracy_interval(share, images)))
    return pd.DataFrame(rows, columns=["class", "network", "measured", "low", "high"])


def compared(runs: dict, first: str, second: str) -> pd.DataFrame:
    """Two networks on the same images: the first minus the second, on every whole test set.

    Args:
        runs: experiment -> list of runs, both networks among them; the first seed of each is compared.
        first, second: names of experiments.

    Returns:
        DataFrame, one row a test set: test set, then for accuracy and for loss: first | second | difference | its 95 %
        interval | p of "no difference" (McNemar's test for accuracy, paired t test for loss; not corrected for the
        number of rows).

    Used in: 03, 06, 07.
    """
    rows = []
    a, b = runs[first][0], runs[second][0]
    for test_set in (*TEST_SETS, "private"):
        labels = a.labels(test_set)
        row = {"test set": test_set}
        differences = evaluation.compare(a.logits(test_set), b.logits(test_set), labels)
        for metric, measure in (("accuracy", evaluation.accuracy), ("loss", evaluation.cross_entropy)):
            difference = differences[metric]
            row |= {
                f"{metric}: {first}": measure(a.logits(test_set), labels),
                f"{metric}: {second}": measure(b.logits(test_set), labels),
                f"{metric}: difference": f"{difference.value:+.3f}",
                f"{metric}: 95 % interval": f"{difference.low:+.3f} to {difference.high:+.3f}",
                f"{metric}: p": f"{difference.p:.2g}",
            }
        rows.append(row)
    return pd.DataFrame(rows)
