"""What is wrong with the published numbers, or cannot be concluded from them, whatever a new training gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ferhelpers import distortions, evaluation
from ferhelpers.data import CLASSES, OFFICIAL_COUNTS
from ferhelpers.published import DIGITS, NETWORKS, apart, by_network, pair, published, published_confusions
from ferhelpers.runs import NOT_RUN, Run, Runs

PUBLIC = sum(OFFICIAL_COUNTS["public"])  # images of the report's test set


def tested_images(test_set: str) -> int:
    """How many test images the report's numbers on a test set rest on: of a distortion, its section."""
    part = distortions.section(test_set, PUBLIC) if test_set in distortions.NAMES else slice(0, PUBLIC)
    return part.stop - part.start


def confusion_check(runs: Runs) -> pd.DataFrame:
    """Do the confusion matrices belong to the accuracies? The report's, and this run's, also in a wrong order.

    Args:
        runs: the first seed is shown; networks that it does not name are left out, unless it is empty.

    Returns:
        DataFrame, one row a published matrix. Report: accuracy | trace / sum of its matrix | trace / sum by chance
        (from the row and column sums alone) | p (chi-square test that predictions and labels are independent: small
        where the matrix shows any skill). This run: accuracy | trace / sum | trace / sum with labels shuffled | by
        chance.

    Source: report, 6.1.2, 6.1.3, 9.
    """
    rows = []
    for name, matrix in published_confusions().items():
        if runs and name not in runs:
            continue
        reported = {
            "accuracy": by_network().accuracy[name, "clean"],
            "trace / sum": matrix.trace() / matrix.sum(),
            "by chance": evaluation.chance_agreement(matrix),
            "p of chance": stats.chi2_contingency(matrix).pvalue,
        }
        measured = dict.fromkeys(("accuracy", "trace / sum", "labels shuffled", "by chance"), NOT_RUN)
        if runs[name]:
            logits, labels = runs[name][0].logits("clean"), runs[name][0].labels("clean")
            right, wrong = evaluation.confusion(logits, labels), evaluation.shuffled_confusion(logits, labels)
            shares = right.trace() / right.sum(), wrong.trace() / wrong.sum(), evaluation.chance_agreement(wrong)
            numbers = (evaluation.accuracy(logits, labels), *shares)
            measured = dict(zip(measured, (round(float(number), 3) for number in numbers)))
        row = {"network": runs.label(name)}
        row |= {f"report: {column}": round(float(number), 3) for column, number in reported.items()}
        rows.append(row | {f"this run: {column}": cell for column, cell in measured.items()})
    return pd.DataFrame(rows)


def row_sum_check() -> pd.DataFrame:
    """Whose images are in the published confusion matrices? Their row sums beside the official class counts.

    Returns:
        DataFrame: images (the matrices, which all have the same row sums; PublicTest; PrivateTest; a random 3,589 of
        all 35,887 images, on average), one column a class, total, and p: chi-square test that the matrices' classes
        were drawn with these shares. PublicTest and PrivateTest are fixed sets: any difference at all rules them out.

    Source: report, 6.1.2; Goodfellow et al. 2013 (the official splits).
    """
    sums = published_confusions()["baseline"].sum(axis=1)
    everything = np.sum(list(OFFICIAL_COUNTS.values()), axis=0)
    sources = {
        "PublicTest": np.array(OFFICIAL_COUNTS["public"]),
        "PrivateTest": np.array(OFFICIAL_COUNTS["private"]),
        "a random tenth of all images": everything * sums.sum() / everything.sum(),
    }
    rows = [("the report's matrices", *sums, sums.sum(), "–")]
    for name, counts in sources.items():
        p = stats.chisquare(sums, counts * sums.sum() / counts.sum()).pvalue
        rows.append((name, *counts.round().astype(int), int(counts.sum().round()), round(p, 3)))
    return pd.DataFrame(rows, columns=["images", *CLASSES, "total", "p"])


def overall_check() -> pd.DataFrame:
    """The report's "overall" results on distorted images beside the mean of the five sections, which they must equal.

    Returns:
        DataFrame: network, metric, report (Tables 1 and 2, "Overall"), weighted mean of the five sections.

    Source: report, Tables 1 and 2.
    """
    sizes = [tested_images(name) for name in distortions.NAMES]
    rows = []
    for table in ("1", "2"):
        lines = published(table).set_index("test_set")
        for metric, digits in DIGITS.items():
            mean = np.average(lines.loc[list(distortions.NAMES), metric], weights=sizes)
            values = lines.loc["distorted_overall", metric], mean
            rows.append((NETWORKS[lines.experiment.iloc[0]], metric, *(f"{value:.{digits}f}" for value in values)))
    return pd.DataFrame(rows, columns=["network", "metric", "report", "mean of the five sections"])


def guessing_check(runs: Runs) -> pd.DataFrame:
    """Do the three networks beat the best constant prediction (`evaluation.constant_prediction`)?

    Args:
        runs: of which the first seed is shown.

    Returns:
        DataFrame, one row a line of Tables 15 to 20: test set, network; then for the report (against the classes of
        PublicTest) and for this run (in the report's layout, against its own test images): accuracy, loss, better than
        a constant prediction in (both, accuracy, loss, neither).

    Source: report, Tables 15-20.
    """
    columns = (*DIGITS, "better than a constant prediction in")
    words = {(True, True): "both", (True, False): "accuracy", (False, True): "loss", (False, False): "neither"}
    public = np.repeat(range(len(CLASSES)), OFFICIAL_COUNTS["public"])

    def cells(accuracy: float, loss: float, labels: np.ndarray) -> tuple[str, str, str]:
        share, entropy = evaluation.constant_prediction(labels)
        return f"{accuracy:.3f}", f"{loss:.2f}", words[accuracy > share, loss < entropy]

    rows = []
    for line in pd.concat([published(str(table)) for table in range(15, 21)]).itertuples():
        row = {"test set": line.test_set, "network": runs.label(line.experiment)}
        sides = {"report": cells(line.accuracy, line.loss, public), "this run": (NOT_RUN,) * 3}
        if runs[line.experiment]:
            layout = "whole" if line.test_set == "clean" else "section"
            logits, labels = evaluation.predictions(runs[line.experiment][0], line.test_set, layout)
            accuracy, loss = evaluation.accuracy(logits, labels), evaluation.cross_entropy(logits, labels)
            sides["this run"] = cells(accuracy, loss, labels)
        for side, of_side in sides.items():
            row |= {f"{side}: {column}": cell for column, cell in zip(columns, of_side)}
        rows.append(row)
    return pd.DataFrame(rows)


def margins(tables: list[str]) -> pd.DataFrame:
    """Are the report's differences in accuracy larger than the choice of its test images explains?

    The report gives no result of single images, so the networks are taken as if each had images of its own; on the same
    images the interval is narrower. Variation between seeds is extra.

    Args:
        tables: names of the report's tables, each of several networks on one test set.

    Returns:
        DataFrame, one row a table: table, test set, images, most accurate; then for the second and for the least
        accurate network: name, lead over it in points with its 95 % interval (`evaluation.difference_interval`).

    Source: report, Tables 3-20.
    """
    rows = []
    for table in tables:
        lines = published(table).sort_values("accuracy", ascending=False, kind="stable")
        best, test_set = lines.iloc[0], lines.test_set.iloc[0]
        n = tested_images(test_set)
        row = {"table": table, "test set": test_set, "images": n, "most accurate": NETWORKS[best.experiment]}
        for place, other in (("second", lines.iloc[1]), ("least", lines.iloc[-1])):
            low, high = evaluation.difference_interval(best.accuracy, n, other.accuracy, n)
            row |= {
                f"{place}: network": NETWORKS[other.experiment],
                f"{place}: lead": f"{100 * (best.accuracy - other.accuracy):+.1f}",
                f"{place}: 95 % interval": f"{100 * low:+.1f} to {100 * high:+.1f}",
            }
        rows.append(row)
    return pd.DataFrame(rows)


def wording_check() -> pd.DataFrame:
    """Sentences of the report that its own tables do not bear out, with what the tables give.

    Returns:
        DataFrame: section, sentence, what its tables say (computed from them).

    Source: report, 8.1, 8.2, 9 and Tables 3, 14, 20.
    """
    clean, occluded = (by_network().xs(name, level="test_set") for name in ("clean", "occlusion"))
    four, five = (100 * (clean.accuracy["blocks_3"] - clean.accuracy[name]) for name in ("blocks_4", "blocks_5"))
    more = 100 * (occluded.accuracy["dropout_0.65"] - occluded.accuracy["dropout_0.5"])
    share = occluded.loss["final"] / occluded.loss["efficientnet"]
    rows = [
        (
            "8.1",
            '4 and 5 blocks learn "nuances of the training set" and become "slightly less accurate"',
            f"{four:.1f} and {five:.1f} points less than 3 blocks",
        ),
        ("8.2", 'Under occlusion, dropout 0.65 is "4.2% more accurate" than 0.5', f"{more:.1f} points"),
        (
            "9",
            'Under occlusion, the final network\'s loss is "almost half of the EfficientNet test loss"',
            f"{share:.0%} of it",
        ),
    ]
    return pd.DataFrame(rows, columns=["section", "the report says", "its tables say"])


def noise_readings(runs: Runs) -> pd.DataFrame:
    """Which reading of the report's Gaussian noise gives its numbers, on the section that it laid its noise on?

    Args:
        runs: networks of Tables 2, 5, 11 and 17. All count, so they should have learned as much as the report's.

    Returns:
        DataFrame, the report's own numbers, then one row a reading, the nearest in accuracy first: reading; accuracy
        and loss ("0.409 / 1.74") of each that was run; how far they are from the report's (`published.apart`). Where
        none was run, a table that says so.

    Source: report, Tables 2, 5, 11, 17 and section 5.1.
    """
    numbers = by_network().xs("gaussian_noise", level="test_set")
    tables = pd.concat([published(table) for table in ("2", "5", "11", "17")])
    shown = set(tables.query("test_set == 'gaussian_noise'").experiment)
    names = [name for name in runs.first() if name in shown]
    if not names:
        return pd.DataFrame({"networks": ["all"], "result": [NOT_RUN]})
    published_scores = [tuple(numbers.loc[name]) for name in names]
    scores = {"the report's own numbers": published_scores}
    for reading in distortions.NOISE_READINGS:
        scores[reading] = [np.mean([_under_noise(run, reading) for run in runs[name]], axis=0) for name in names]
    rows = []
    for reading, of_networks in scores.items():
        cells = {runs.label(name): pair(*of_network) for name, of_network in zip(names, of_networks)}
        rows.append({"reading": reading, **cells, **apart(of_networks, published_scores)})
    return pd.DataFrame(rows).sort_values("distance: accuracy", kind="stable", ignore_index=True)


def _under_noise(run: Run, reading: str) -> tuple[float, float]:
    """Accuracy and loss of a run under one reading of the noise, on the report's section."""
    logits, labels = run.logits(f"noise/{reading}"), run.labels(f"noise/{reading}")
    whole = len(run.labels("clean"))
    if len(labels) == whole:
        part = distortions.section("gaussian_noise", whole)
        logits, labels = logits[part], labels[part]
    return evaluation.accuracy(logits, labels), evaluation.cross_entropy(logits, labels)
