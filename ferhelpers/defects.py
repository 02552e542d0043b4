"""What is wrong with the published numbers themselves, or cannot be concluded from them, whatever a new training gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ferhelpers import distortions, evaluation
from ferhelpers.data import CLASSES, OFFICIAL_COUNTS
from ferhelpers.report import DIGITS, NETWORKS, NOT_RUN, network_name, published, published_confusions, runs_of


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
            "report: accuracy": published()
            .query("test_set == 'clean' and experiment == @experiment")["accuracy"]
            .iloc[0],
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
            rows.append(
                (network, metric, *(f"{value:.{digits}f}" for value in (lines.loc["distorted_overall", metric], mean)))
            )
    return pd.DataFrame(rows, columns=["network", "metric", "report", "mean of the five sections"])


def constant_answer(labels) -> tuple[float, float]:
    """Accuracy and loss of the best answer that is the same for every image, which needs no network.

    For accuracy that is the commonest class, for loss the share of each class as its probability: the entropy of the labels.

    Used in: 03.
    """
    counts = np.bincount(labels)
    return float(counts.max() / counts.sum()), float(stats.entropy(counts))


def guessing_check(runs: dict) -> pd.DataFrame:
    """Do the three networks beat `constant_answer`?

    Args:
        runs: experiment -> list of runs, of which the first seed is shown.

    Returns:
        DataFrame, one row a line of Tables 15 to 20: test set, network; then for the report (against the classes of PublicTest) and for
        this run (in the report's layout, against its own test images): accuracy, loss, better than a constant answer in (both,
        accuracy, loss, neither).

    Source: report, Tables 15-20. Used in: 07.
    """
    verdicts = {(True, True): "both", (True, False): "accuracy", (False, True): "loss", (False, False): "neither"}
    public = np.repeat(range(len(CLASSES)), OFFICIAL_COUNTS["public"])
    rows = []
    for line in pd.concat([published(str(table)) for table in range(15, 21)]).itertuples():
        row = {"test set": line.test_set, "network": network_name(runs, line.experiment)}
        sides = {"report": (line.accuracy, line.loss, public)}
        if found := runs_of(runs, line.experiment):
            logits, labels = evaluation.predictions(
                found[0], line.test_set, "whole" if line.test_set == "clean" else "section"
            )
            sides["this run"] = evaluation.accuracy(logits, labels), evaluation.cross_entropy(logits, labels), labels
        for side in ("report", "this run"):
            cells = (NOT_RUN,) * 3
            if side in sides:
                accuracy, loss, labels = sides[side]
                share, entropy = constant_answer(labels)
                cells = f"{accuracy:.3f}", f"{loss:.2f}", verdicts[accuracy > share, loss < entropy]
            row |= {f"{side}: {name}": cell for name, cell in zip((*DIGITS, "better than a constant answer in"), cells)}
        rows.append(row)
    return pd.DataFrame(rows)


def margins(tables) -> pd.DataFrame:
    """Are the report's differences in accuracy larger than the choice of its test images explains?

    Args:
        tables: names of the report's tables, each of several networks on one test set.

    Returns:
        DataFrame, one row a table: table, test set, images, most accurate; then for the second and for the least accurate network:
        name, lead over it in points with its 95 % interval (`evaluation.difference_interval`).

    The report gives no result of single images, so the networks are taken as if each had images of its own; on the same images the
    interval is narrower. How far two trainings of one network lie apart comes on top.

    Source: report, Tables 3-20. Used in: 04, 05, 07.
    """
    rows = []
    for table in tables:
        lines = published(table).sort_values("accuracy", ascending=False, kind="stable")
        test_set, total = lines.test_set.iloc[0], sum(OFFICIAL_COUNTS["public"])
        part = distortions.section(test_set, total) if test_set in distortions.NAMES else slice(0, total)
        n = part.stop - part.start
        best = lines.iloc[0]
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

    Source: report, 8.1, 8.2, 9 and Tables 3, 14, 20. Used in: 07.
    """
    values = published().drop_duplicates(["experiment", "test_set"]).set_index("experiment")
    clean, occluded = (values[values.test_set == name] for name in ("clean", "occlusion"))
    depth = ", ".join(f"{clean.accuracy[f'blocks_{count}']:.3f}" for count in range(1, 6))
    more = 100 * (occluded.accuracy["dropout_0.65"] - occluded.accuracy["dropout_0.5"])
    of_efficientnet, of_baseline = (
        occluded.loss["final"] / occluded.loss[other] for other in ("efficientnet", "baseline")
    )
    rows = [
        (
            "8.1",
            '4 and 5 blocks learn "nuances of the training set" and become "slightly less accurate"',
            f"1 to 5 blocks: {depth}",
        ),
        ("8.2", 'under occlusion, dropout 0.65 is "4.2% more accurate" than 0.5', f"{more:.1f} points"),
        (
            "9",
            "under occlusion, the final network's loss is \"almost half of the EfficientNet test loss and more than half of the baseline "
            'test loss"',
            f"{of_efficientnet:.0%} and {of_baseline:.0%} of theirs",
        ),
    ]
    return pd.DataFrame(rows, columns=["section", "the report says", "its tables say"])


def noise_readings(runs: dict) -> pd.DataFrame:
    """Which reading of the report's Gaussian noise gives the report's numbers? Each on the section that the report laid it on.

    Args:
        runs: experiment -> list of runs, all of which count: a network that has learned less than the report's has less to lose.

    Returns:
        DataFrame, the report's own numbers, then one row a reading, the nearest in accuracy first: reading; accuracy and loss
        ("0.409 / 1.74") of each network of Tables 2, 5, 11 and 17 that was run; their mean distances from the report's. Where no network was
        run, a table that says so.

    Source: report, Tables 2, 5, 11, 17 and section 5.1. Used in: 07, and in the README.
    """
    lines = pd.concat([published(table).query("test_set == 'gaussian_noise'") for table in ("2", "5", "11", "17")])
    lines = [line for line in lines.drop_duplicates("experiment").itertuples() if runs_of(runs, line.experiment)]
    if not lines:
        return pd.DataFrame({"networks": ["all"], "result": [NOT_RUN]})
    networks = [network_name(runs, line.experiment) for line in lines]

    def scores(run, reading):
        logits, labels = run.logits(f"noise/{reading}"), run.labels(f"noise/{reading}")
        if reading in distortions.CANDIDATES:
            part = distortions.section("gaussian_noise", len(labels))
            logits, labels = logits[part], labels[part]
        return evaluation.accuracy(logits, labels), evaluation.cross_entropy(logits, labels)

    said = [(line.accuracy, line.loss) for line in lines]
    found = {"the report's own numbers": said}
    for reading in distortions.NOISE_READINGS:
        found[reading] = [np.mean([scores(run, reading) for run in runs[line.experiment]], axis=0) for line in lines]
    rows = []
    for reading, numbers in found.items():
        cells = {name: "{:.3f} / {:.2f}".format(*of_network) for name, of_network in zip(networks, numbers)}
        accuracy, loss = np.abs(np.subtract(numbers, said)).mean(axis=0).round(3)
        rows.append({"reading": reading, **cells, "distance: accuracy": accuracy, "distance: loss": loss})
    return pd.DataFrame(rows).sort_values("distance: accuracy", kind="stable", ignore_index=True)
