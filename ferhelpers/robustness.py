"""Networks trained with different distortions, side by side: the tables of notebook 09.

The networks are `experiments.diets`'s; whole test sets count. Runs that are missing are left out.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from ferhelpers import calibration, comparisons, defects, distortions, evaluation
from ferhelpers.data import CLASSES
from ferhelpers.published import DIGITS, TEST_SETS, by_network, pair
from ferhelpers.runs import Runs
from ferhelpers.unseen import UNSEEN

A, B, C, LARGER = "robust_clean", "robust_general", "robust_report", "robust"
SIDE_BY_SIDE = A, B, C, LARGER  # in `six_sets`


def best_reported() -> pd.DataFrame:
    """The report's best number on each of its six test sets, of any network: index TEST_SETS, accuracy and loss."""
    by_set = by_network().groupby(level="test_set")
    return pd.DataFrame({"accuracy": by_set.accuracy.max(), "loss": by_set.loss.min()}).loc[list(TEST_SETS)]


def six_sets(runs: Runs) -> pd.DataFrame:
    """Accuracy / loss on the report's six test sets, on the private split, and in the mean of the five distortions.

    Returns:
        DataFrame, one row a test set: test set, report's best, report's final, then each network that was run, mean
        over its seeds. Last row: how many seeds.
    """
    numbers = {"report's best": best_reported(), "report's final": by_network().loc["final"].loc[list(TEST_SETS)]}
    numbers |= {runs.label(name): _whole(runs, name)[list(DIGITS)] for name in runs.first()}
    columns = {}
    for column, frame in numbers.items():
        frame.loc["mean of the five"] = frame.loc[list(distortions.NAMES)].mean()
        columns[column] = [
            pair(frame.accuracy[row], frame.loss[row]) if row in frame.index else "–"
            for row in (*TEST_SETS, "mean of the five", "private")
        ]
    index = [name.replace("_", " ") for name in TEST_SETS] + ["mean of the five", "PrivateTest, clean"]
    table = pd.DataFrame(columns, index=pd.Index(index, name="test set"))
    seeds = {runs.label(name): str(len(runs[name])) for name in runs.first()}
    table.loc["seeds"] = [seeds.get(column, "–") for column in table]
    return table


def six_sets_in_words(runs: Runs) -> list[str]:
    """What `six_sets` say; beside the report's numbers, of networks that were run on FER-2013 alone."""
    sentences = [f"{runs.label(name)} {_lead(runs, name)}." for name in runs.on_fer2013().first()]
    pairs = [name for name in (B, C) if runs[name] and runs[A]]
    return sentences + [f"{runs.label(name)} {_price(runs, name)}." for name in pairs]


def intervals(runs: Runs) -> pd.DataFrame:
    """The 95 % interval of each accuracy of `six_sets`, but for the mean of the five."""
    columns = {}
    for name in runs.first():
        rows = _whole(runs, name)
        columns[runs.label(name)] = [f"{low:.3f} to {high:.3f}" for low, high in zip(rows.low, rows.high)]
    index = [name.replace("_", " ") for name in TEST_SETS] + ["PrivateTest, clean"]
    return pd.DataFrame(columns, index=pd.Index(index, name="test set"))


def severities(runs: Runs) -> pd.DataFrame:
    """Accuracy by the textbook's severity (0: clean): distortion, severity, network, accuracy."""
    rows = []
    for network, name in itertools.product(runs.first(), distortions.NAMES):
        for severity in (0, *distortions.SEVERITIES):
            test_set = f"{name}/{severity}" if severity else "clean"
            rows.append((name, severity, runs.label(network), runs.mean(network, test_set, "accuracy")))
    return pd.DataFrame(rows, columns=["distortion", "severity", "network", "accuracy"])


def severities_in_words(by_severity: pd.DataFrame) -> list[str]:
    """What `severities` say."""
    means = by_severity.groupby(["network", "severity"], sort=False).accuracy.mean().unstack()
    falls = [f"{network} loses {100 * (row.iloc[0] - row.iloc[-1]):.0f} points" for network, row in means.iterrows()]
    return [f"From clean to severity 5, in the mean of the five distortions, {', '.join(falls)}."] * bool(falls)


def matrix(runs: Runs) -> pd.DataFrame:
    """What protects against what: accuracy of each network (rows) on each kind of distortion (columns).

    The five of the textbook are means over its severities; the others are in no training.
    """
    kinds = {"clean": ["clean"]}
    kinds |= {name: [f"{name}/{severity}" for severity in distortions.SEVERITIES] for name in distortions.NAMES}
    kinds |= {name: [f"unseen/{name}"] for name in UNSEEN}
    table = {
        runs.label(network): {
            kind.replace("_", " "): np.mean([runs.mean(network, test_set, "accuracy") for test_set in of_kind])
            for kind, of_kind in kinds.items()
        }
        for network in runs.first()
    }
    return pd.DataFrame(table).T.rename_axis("network")


def matrix_in_words(runs: Runs, accuracies: pd.DataFrame) -> list[str]:
    """What a `matrix` says: of kinds that no training contains, and of those that one training left out."""
    sentences, unseen = [], [kind.replace("_", " ") for kind in UNSEEN]
    for name in (B, C):
        if runs[name] and runs[A]:
            gains = accuracies.loc[runs.label(name), unseen] - accuracies.loc[runs.label(A), unseen]
            up = list(gains.index[gains > 0])
            sure, _ = comparisons.clear([_change(runs, name, f"unseen/{kind}") for kind in UNSEEN])
            sentences.append(
                f"Of the {len(gains)} kinds that no network saw in training, {runs.label(name)} is ahead of "
                f"{runs.label(A)} on {len(up) or 'none'}{': ' * bool(up)}{', '.join(up)}. "
                f"On {sure or 'none'} the lead is beyond chance (p < 0.05 after Holm's correction)."
            )
    for family in distortions.NAMES:
        kind, without = family.replace("_", " "), f"robust_without_{family}"
        if runs[B] and runs[without]:
            seen, left_out = (
                f"{accuracies.loc[runs.label(name), kind]:.3f} by {runs.label(name)} (seeds: {len(runs[name])})"
                for name in (B, without)
            )
            sentences.append(f"Accuracy under {kind}: {seen}, and {left_out}.")
    return sentences


def mask_in_words(runs: Runs) -> list[str]:
    """What recall and answers under a mask say, means over seeds."""
    sentences = []
    for name in runs.first():
        recalls = pd.Series(runs.recalls(name, "unseen/mask"), CLASSES)
        best, worst = recalls.idxmax(), recalls.idxmin()
        extremes = f"{best} best ({recalls[best]:.0%}) and {worst} worst ({recalls[worst]:.0%})"
        confusion = sum(evaluation.confusion(*evaluation.predictions(run, "unseen/mask")) for run in runs[name])
        true, given = (pd.Series(confusion.sum(axis=axis) / confusion.sum(), CLASSES) for axis in (1, 0))
        most = given.idxmax()
        often = f"It answers {most} for {given[most]:.0%} of the faces; {true[most]:.0%} are {most}"
        sentences.append(f"Under the mask, {runs.label(name)} recognises {extremes}. {often}.")
    return sentences


def calibrated(runs: Runs) -> pd.DataFrame:
    """Calibration error on clean and distorted images, before and after one temperature, by the first seed.

    Returns:
        DataFrame: network, test set, temperature, before, after.
    """
    rows = []
    for name, run in runs.first().items():
        by = calibration.run_temperature(run)
        for test_set in ("clean", "gaussian_noise", "occlusion", "unseen/mask"):
            logits, labels = run.logits(test_set), run.labels(test_set)
            errors = (calibration.calibration_error(logits / divisor, labels) for divisor in (1, by))
            rows.append((runs.label(name), test_set.removeprefix("unseen/").replace("_", " "), by, *errors))
    return pd.DataFrame(rows, columns=["network", "test set", "temperature", "before", "after"])


def calibrated_in_words(errors: pd.DataFrame) -> list[str]:
    """What `calibrated` says."""
    means = errors.groupby("network", sort=False)[["before", "after"]].mean()
    return [
        f"One temperature takes the mean error of {network} from {row.before:.3f} to {row.after:.3f}"
        f"{': it does not help here' if row.after >= row.before else ''}."
        for network, row in means.iterrows()
    ]


def heat_in_words(shares: pd.DataFrame) -> list[str]:
    """What `explanations.black_quarter` says."""
    if "result" in shares:  # "not run"
        return []
    return [
        f"{row.network} has {row['heat in the black quarter']:.0%} of its heat in the black quarter, and "
        f"{row['in that quarter of the whole face']:.0%} in that quarter of the whole face ({row.faces} faces; 95 % "
        f"interval of the difference {row.low:+.3f} to {row.high:+.3f}"
        f"{', so it may be chance' * (row.low <= 0 <= row.high)})."
        for _, row in shares.iterrows()
    ]


def answer(runs: Runs) -> list[str]:
    """What is said of B beside the report and A, of the larger network, and of how they answer."""
    ours = runs.on_fer2013()
    parts = [_lead(runs, B) + (f"; {runs.label(A)} does so on {_ahead(runs, A)}" if ours[A] else "")] if ours[B] else []
    parts += [_price(runs, B)] if runs[B] and runs[A] else []
    start = f"Notebook 9 trains on the report's kinds of distortion. Its small network {runs.label(B)}"
    sentences = [f"{start} {'. B '.join(parts)}."] if parts else []
    if ours[LARGER]:
        larger = "A larger network, also trained on the report's own distortions,"
        sentences.append(f"{larger} beats them on {_ahead(runs, LARGER)}.")
    if sentences:
        sentences.append("These networks average four views of an image; the report mentions none.")
    return sentences


def _whole(runs: Runs, name: str) -> pd.DataFrame:
    """`Runs.scores` of a network on the report's whole test sets and on the private split, one row each."""
    return runs.scores(name).xs("whole", level="layout").loc[[*TEST_SETS, "private"]]


def _lead(runs: Runs, name: str) -> str:
    """What a network has over the report's."""
    of_all = f" of {len(TEST_SETS)} test sets"
    return f"beats every network of the report in accuracy and loss on {_ahead(runs, name, of_all)}"


def _ahead(runs: Runs, name: str, of_all: str = "") -> str:
    """On how many test sets a network is more accurate, with a lower loss, than every network of the report.

    For the interval of a lead the report's images (of a distortion, its section) are taken for others: it gives no
    result of single images.
    """
    scores, best = _whole(runs, name).loc[list(TEST_SETS)], best_reported()
    ahead = scores[(scores.accuracy > best.accuracy) & (scores.loss < best.loss)].accuracy
    images, unsure = len(runs[name][0].labels("clean")), []
    for test_set, accuracy in ahead.items():
        reported = best.accuracy[test_set], defects.tested_images(test_set)
        if evaluation.difference_interval(accuracy, images, *reported)[0] <= 0:
            unsure.append(test_set.replace("_", " "))
    return f"{len(ahead)}{of_all}" + f" (perhaps by chance on {', '.join(unsure)})" * bool(unsure)


def _price(runs: Runs, name: str) -> str:
    """What a network loses, or gains, on clean images beside network A."""
    change = _change(runs, name, "clean")
    return (
        f"is {abs(100 * change.value):.1f} points {'below' if change.value <= 0 else 'above'} A on clean images"
        f"{', which may be chance' * (change.low <= 0 <= change.high)} "
        f"(95 % interval {100 * change.low:+.1f} to {100 * change.high:+.1f})"
    )


def _change(runs: Runs, name: str, test_set: str) -> evaluation.Difference:
    """A network's accuracy less that of A, on a whole test set, with its 95 % interval."""
    sides = (runs.per_image(which, test_set, "accuracy") for which in (name, A))
    return comparisons.difference(runs, (name, A), test_set, "accuracy", *sides)
