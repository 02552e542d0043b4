"""What is wrong with the published numbers themselves: the confusion matrices, whose images they count, the overall rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ferhelpers import distortions, evaluation
from ferhelpers.data import CLASSES, OFFICIAL_COUNTS
from ferhelpers.report import DIGITS, NETWORKS, NOT_RUN, as_reported, network_name, published, published_confusions, runs_of


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

    Used in: 03, 06.
    """
    return evaluation.confusion(logits, np.random.default_rng(seed).permutation(labels))


def chance_agreement(matrix) -> float:
    """The trace over the sum that a matrix (7, 7) would have if its predictions knew nothing of the labels."""
    return float(matrix.sum(axis=0) @ matrix.sum(axis=1) / matrix.sum() ** 2)


def confusion_check(runs: dict, seed: int = 0) -> pd.DataFrame:
    """Do the confusion matrices belong to the accuracies? The report's, and this run's in the right and in a wrong order.

    Args:
        runs: experiment -> list of runs; the first seed is shown. Networks that it does not name are left out, unless it is empty.
        seed: of the shuffle.

    Returns:
        DataFrame, one row a published matrix. Report: accuracy | trace / sum of its matrix | trace / sum by chance (from
        the row and column sums alone) | p (chi-square test that predictions and labels are independent: small where
        the matrix shows any skill). This run: accuracy | trace / sum | trace / sum with labels shuffled | by chance.

    Source: report, 6.1.2, 6.1.3, 9. Used in: 03, 06.
    """
    rows = []
    for experiment, matrix in published_confusions().items():
        if runs and experiment not in runs:
            continue
        found = runs_of(runs, experiment)
        row = {
            "network": network_name(runs, experiment),
            "report: accuracy": published().query("test_set == 'clean' and experiment == @experiment")["accuracy"].iloc[0],
            "report: trace / sum": round(matrix.trace() / matrix.sum(), 3),
            "report: by chance": round(chance_agreement(matrix), 3),
            "report: p of chance": round(stats.chi2_contingency(matrix).pvalue, 3),
        }
        mine = (NOT_RUN,) * 4
        if found:
            logits, labels = found[0].logits("clean"), found[0].labels("clean")
            right, wrong = evaluation.confusion(logits, labels), shuffled_confusion(logits, labels, seed)
            shares = (right.trace() / right.sum(), wrong.trace() / wrong.sum(), chance_agreement(wrong))
            mine = [round(float(share), 3) for share in (evaluation.accuracy(logits, labels), *shares)]
        names = ("accuracy", "trace / sum", "labels shuffled", "by chance")
        rows.append({**row, **{f"this run: {name}": cell for name, cell in zip(names, mine)}})
    return pd.DataFrame(rows)


def row_sum_check() -> pd.DataFrame:
    """Whose images are in the published confusion matrices? Their row sums beside the official class counts.

    Returns:
        DataFrame: images (the matrices, which all have the same row sums; PublicTest; PrivateTest; a random 3,589 of all
        35,887 images, on average), one column a class, total, and p: chi-square test that the matrices' classes were
        drawn with these shares. PublicTest and PrivateTest are fixed sets: any difference at all rules them out.

    Source: report, 6.1.2; Goodfellow et al. 2013 (the official splits). Used in: 03.
    """
    sums = published_confusions()["baseline"].sum(axis=1)
    everything = np.sum(list(OFFICIAL_COUNTS.values()), axis=0)
    sources = {
        "PublicTest": np.array(OFFICIAL_COUNTS["public"]), "PrivateTest": np.array(OFFICIAL_COUNTS["private"]),
        "a random tenth of all images": everything * sums.sum() / everything.sum(),
    }
    rows = [("the report's matrices", *sums, sums.sum(), "–")]
    for name, counts in sources.items():
        p = stats.chisquare(sums, counts * sums.sum() / counts.sum()).pvalue
        rows.append((name, *counts.round().astype(int), int(counts.sum().round()), round(p, 3)))
    return pd.DataFrame(rows, columns=["images", *CLASSES, "total", "p"])


def overall_check() -> pd.DataFrame:
    """The report's "overall" results on the distorted test set beside the mean of its five sections, which they must equal.

    Returns:
        DataFrame: network, metric, report (Tables 1 and 2, "Overall"), mean of the five sections, weighted by their size.

    Source: report, Tables 1 and 2. Used in: 03.
    """
    sizes = [part.stop - part.start for part in distortions.sections(3589)]
    rows = []
    for table in ("1", "2"):
        lines = published(table).set_index("test_set")
        for metric, digits in DIGITS.items():
            mean = np.average(lines.loc[list(distortions.NAMES), metric], weights=sizes)
            network = NETWORKS[lines["experiment"].iloc[0]]
            rows.append((network, metric, *(f"{value:.{digits}f}" for value in (lines.loc["distorted_overall", metric], mean))))
    return pd.DataFrame(rows, columns=["network", "metric", "report", "mean of the five sections"])


def guessing_check() -> pd.DataFrame:
    """Do the published numbers beat answers that need no network: always the commonest class, and a seventh for every class?

    Returns:
        DataFrame, one row a line of Tables 15 to 20: test set, network, accuracy, more accurate (than the share of the commonest
        class in PublicTest), loss, lower loss (than the logarithm of 7).

    Source: report, Tables 15-20. Used in: 07.
    """
    public = OFFICIAL_COUNTS["public"]
    lines = pd.concat([published(str(table)) for table in range(15, 21)], ignore_index=True)
    frame = pd.DataFrame({"test set": lines.test_set, "network": lines.experiment.map(NETWORKS)})
    frame["accuracy"] = lines.accuracy
    frame["more accurate"] = np.where(lines.accuracy > max(public) / sum(public), "yes", "no")
    frame["loss"] = lines.loss
    frame["lower loss"] = np.where(lines.loss < np.log(len(CLASSES)), "yes", "no")
    return frame


def noise_readings(runs: dict) -> pd.DataFrame:
    """Which reading of the report's Gaussian noise gives the report's numbers? Each on the section that the report laid it on.

    Args:
        runs: experiment -> list of runs, of which those with the report's schedule (and, for EfficientNet, pre-trained weights)
            count: a network that has learned less has less to lose.

    Returns:
        DataFrame, one row a reading, the nearest in accuracy first: reading, what it is; then for each of Tables 2, 5, 11 and 17,
        and for all their networks (two of them stand in two tables), the mean distance of accuracy and of loss from the report's.
        "not run" where no run counts.

    Source: report, Tables 2, 5, 11, 17 and section 5.1. Used in: 07.
    """
    lines = pd.concat([published(table).query("test_set == 'gaussian_noise'") for table in ("2", "5", "11", "17")])
    rows = []
    for reading, function in distortions.NOISE_READINGS.items():
        away = []
        for line in lines.itertuples():
            scores = []
            for run in as_reported(runs, line.experiment):
                logits, labels = run.logits(f"noise/{reading}"), run.labels(f"noise/{reading}")
                scores.append((evaluation.accuracy(logits, labels), evaluation.cross_entropy(logits, labels)))
            if scores:
                accuracy, loss = np.mean(scores, axis=0)
                away.append((line.table, line.experiment, abs(accuracy - line.accuracy), abs(loss - line.loss)))
        frame = pd.DataFrame(away, columns=["table", "experiment", *DIGITS])
        row = {"reading": reading, "what it is": function.__doc__.splitlines()[0]}
        parts = {f"Table {table}": frame[frame.table == table] for table in lines.table.unique()}
        for name, part in {**parts, "all": frame.drop_duplicates("experiment")}.items():
            row |= {f"{name}: {metric}": NOT_RUN if part.empty else round(part[metric].mean(), 3) for metric in DIGITS}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("all: accuracy", ignore_index=True)
