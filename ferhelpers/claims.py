"""The report's hypotheses and conclusions, judged from a run's stored logits.

Most claims are broken into comparisons of two networks on the same test images (`evaluation.paired`), turned so that a
positive difference speaks for the claim. Distortions are those on the whole test set, which see more than the report's
fifths; "the distorted test set" is its five fifths. Then:

    supported                       every 95 % interval lies above 0, with p < 0.05 (all must: no correction is needed)
    contradicted                    some interval lies below 0, and its p survives Holm's correction over the claim
    undecided at this sample size   neither
    trained otherwise               a network had not the report's schedule or kind of weights: the evidence says what came of it
    not run                         a network that the claim is about was not trained

A claim that all its comparisons are positive falls with one that is not: it is contradicted as soon as the networks that had the
report's schedule suffice for that, whatever the lacking ones would give (in Holm's correction their p is 1).

The claims about overfitting, disgust and five of seven classes have rules of their own, which their functions give.

`runs` is as in `report`. Where all networks of a claim have several seeds, the intervals cover the choice of images and of seeds.
Networks that were not trained as the report's are compared only where they had one schedule (`report.one_schedule`).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ferhelpers import distortions, evaluation
from ferhelpers.data import CLASSES
from ferhelpers.errors import InputError
from ferhelpers.evaluation import Difference
from ferhelpers.report import (
    DIGITS,
    NETWORKS,
    NOT_RUN,
    TEST_SETS,
    alike,
    as_reported,
    epochs_of,
    network_name,
    one_schedule,
    per_image,
    published,
    published_confusions,
    runs_of,
)

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided at this sample size"
OTHERWISE = "trained otherwise"
JUDGED = (SUPPORTED, CONTRADICTED, UNDECIDED)
VERDICTS = (*JUDGED, OTHERWISE, NOT_RUN)
PLATEAU = (20, 30)  # the epochs after which the report sees the baseline overfit
NOISE = "the reading of the report's Gaussian noise was chosen to match its numbers"


class Comparison(NamedTuple):
    """One comparison that a claim rests on; a positive difference speaks for the claim."""

    label: str
    difference: Difference


class Judgement(NamedTuple):
    """What a run says of a claim: columns of `verdicts`."""

    this_run: str
    verdict: str
    evidence: str


class Claim(NamedTuple):
    notebook: str  # "03" to "07", where it is answered
    text: str
    source: str  # section or tables of the report
    says: str  # what the report found
    networks: tuple[str, ...]  # that it is about
    judged: Callable[[dict], Judgement | None]  # from runs of all these networks
    in_part: bool = False  # whether it is judged from runs of some of them, too; None where these are none to compare


def judge(comparisons: list[Comparison], lacking: int = 0) -> str:
    """The verdict on a claim that says that every comparison is positive: these, and others that are `lacking`."""
    differences = [comparison.difference for comparison in comparisons]
    if not lacking and all(difference.low > 0 and difference.p < 0.05 for difference in differences):
        return SUPPORTED
    return CONTRADICTED if _clear(differences, lacking)[1] else UNDECIDED


def _clear(differences: list[Difference], lacking: int = 0) -> tuple[int, int]:
    """How many are clearly positive, and how many clearly negative, after Holm's correction over them and the lacking ones."""
    significant = multipletests([difference.p for difference in differences] + [1.0] * lacking, method="holm")[0]
    pairs = list(zip(differences, significant))
    return sum(s and d.low > 0 for d, s in pairs), sum(s and d.high < 0 for d, s in pairs)


def _labels(runs: dict, experiments, test_set: str) -> np.ndarray:
    """(N,) the labels, which must be the same for all these networks: only then are their images the same."""
    first, *others = [evaluation.predictions(run, test_set)[1] for name in experiments for run in runs_of(runs, name)]
    if not all(np.array_equal(first, labels) for labels in others):
        raise InputError(
            f"runs of {' and '.join(experiments)} differ in their images of {test_set!r}: use the same data"
        )
    return first


def _comparisons(runs: dict, pairs, metric: str) -> list[Comparison]:
    """`pairs` of (better network, worse network, test set), as the claim has them."""
    found = []
    for better, worse, test_set in pairs:
        _labels(runs, (better, worse), test_set)
        a, b = (per_image(runs, name, test_set, metric) for name in (better, worse))
        difference = evaluation.paired(a, b) if metric == "accuracy" else evaluation.paired(b, a)
        label = f"{network_name(runs, better)} against {network_name(runs, worse)} on {test_set}"
        found.append(Comparison(label, difference))
    return found


def _shown(difference: Difference, metric: str) -> str:
    scale, unit = (100, " points") if metric == "accuracy" else (1, "")
    value, low, high = (scale * number for number in difference[:3])
    return f"{value:+.2f}{unit} ({low:+.2f} to {high:+.2f})"


def _evidence(comparisons: list[Comparison], metric: str) -> str:
    """How many comparisons speak for and against, and the one that speaks least for the claim."""
    for_it = sum(comparison.difference.low > 0 for comparison in comparisons)
    against = sum(comparison.difference.high < 0 for comparison in comparisons)
    label, difference = min(comparisons, key=lambda comparison: comparison.difference.value)
    better = "accuracy higher" if metric == "accuracy" else "loss lower"
    return (
        f"{for_it} of {len(comparisons)} intervals lie on its side, {against} on the other; least for it: {label}, "
        f"{better} by {_shown(difference, metric)} on {difference.n:,} images"
    )


def _published_value(experiment: str, test_set: str, metric: str) -> float:
    """One number of the report's tables."""
    lines = published().query("experiment == @experiment").drop_duplicates("test_set").set_index("test_set")[metric]
    if test_set == "distorted_overall" and test_set not in lines:  # the ablations have sections alone
        return float(lines[list(distortions.NAMES)].mean())
    return lines[test_set]


def _tally(value, pairs, metric: str) -> str:
    """On how many test sets the plain numbers are in the claimed order, or the two numbers; `value` as `_published_value`."""
    if len(pairs) == 1:
        (better, worse, test_set), digits = pairs[0], DIGITS[metric]
        return f"{value(better, test_set, metric):.{digits}f} against {value(worse, test_set, metric):.{digits}f}"
    holds = {}
    for better, worse, test_set in pairs:
        a, b = value(better, test_set, metric), value(worse, test_set, metric)
        holds[test_set] = holds.get(test_set, True) and (a > b if metric == "accuracy" else a < b)
    return f"on {sum(holds.values())} of {len(holds)} test sets"


def _most_accurate(value, pairs, metric: str) -> str:
    """The best network on the one test set of `pairs`, and with it the claimed one (or, if that is the best, the second)."""
    claimed, _, test_set = pairs[0]
    values = {name: value(name, test_set, metric) for name in (claimed, *(worse for _, worse, _ in pairs))}
    best, second, *_ = sorted(values, key=values.get, reverse=True)
    other = second if best == claimed else claimed
    return f"most accurate: {NETWORKS[best]}, {values[best]:.3f}; {NETWORKS[other]}: {values[other]:.3f}"


def _each(value, pairs, metric: str) -> str:
    """Every network of `pairs`, on their one test set."""
    return "; ".join(
        f"{NETWORKS[name]}: {value(name, pairs[0][2], metric):.3f}"
        for name in dict.fromkeys(sum((pair[:2] for pair in pairs), ()))
    )


def _ordered(notebook: str, text: str, source: str, pairs, metric: str, tell=_tally) -> Claim:
    """A claim that in each of `pairs` of (better network, worse network, test set) the first is better."""

    def judged(runs: dict) -> Judgement | None:
        def measured(experiment, test_set, metric):
            return float(per_image(runs, experiment, test_set, metric).mean())

        there = [pair for pair in pairs if runs[pair[0]] and runs[pair[1]]]
        if not there:
            return None
        comparisons = _comparisons(runs, there, metric)
        return Judgement(
            tell(measured, there, metric), judge(comparisons, len(pairs) - len(there)), _evidence(comparisons, metric)
        )

    networks = tuple(dict.fromkeys(name for pair in pairs for name in pair[:2]))
    return Claim(notebook, text, source, tell(_published_value, pairs, metric), networks, judged, in_part=True)


def _easiest_distortion(text: str, source: str, easiest: str, metric: str) -> Claim:
    """A claim that among the distortions, all on the same images, the baseline does best under one."""
    others = [name for name in distortions.NAMES if name != easiest]

    def tell(values: dict) -> str:
        best = (max if metric == "accuracy" else min)(values, key=values.get)
        return f"{best.replace('_', ' ')}: {values[best]:.{DIGITS[metric]}f}"

    def judged(runs: dict) -> Judgement:
        values = {name: per_image(runs, "baseline", name, metric) for name in distortions.NAMES}
        comparisons = []
        for other in others:
            better, worse = (
                (values[easiest], values[other]) if metric == "accuracy" else (values[other], values[easiest])
            )
            comparisons.append(
                Comparison(f"{easiest} against {other}", evaluation.paired(better, worse, same_networks=True))
            )
        means = {name: value.mean() for name, value in values.items()}
        return Judgement(tell(means), judge(comparisons), _evidence(comparisons, metric))

    says = tell({name: _published_value("baseline", name, metric) for name in distortions.NAMES})
    return Claim("03", text, source, says, ("baseline",), judged)


def _baseline_overfits(runs: dict) -> Judgement:
    """Is the validation loss of the last epochs above that of those in which the report sees it level off, as many?

    It jumps from epoch to epoch, so the means of epochs are compared, by how far single ones lie apart (Welch's t test).
    """
    first, last = PLATEAU
    curve = np.mean([run.history["val_loss"] for run in runs_of(runs, "baseline_test_validation")], axis=0)
    lowest, count = curve.argmin(), last - first + 1
    this_run = (
        f"validation loss {curve[lowest]:.2f} at epoch {lowest + 1} (lowest), {curve[-1]:.2f} at epoch {len(curve)}"
    )
    if len(curve) < last + count:
        return Judgement(this_run, OTHERWISE, f"the claim is about the epochs after {last}; {len(curve)} were trained")
    end, level = curve[-count:], curve[first - 1 : last]
    test = stats.ttest_ind(end, level, equal_var=False)
    rise = Difference(end.mean() - level.mean(), *test.confidence_interval(), test.pvalue, 2 * count)
    evidence = f"mean of the last {count} epochs minus that of epochs {first} to {last}: {_shown(rise, 'loss')}"
    return Judgement(this_run, judge([Comparison("", rise)]), evidence)


def _final_overfits_less(runs: dict) -> Judgement:
    """Is the gap between validation and training loss after the last epoch smaller for the final network?

    The training loss is Keras' mean over the epoch, with dropout and augmentation, as in the report's Figure 10: it rises with
    dropout, which alone makes the gap smaller. A baseline without a gap cannot support the claim.
    """
    _labels(runs, ("baseline", "final"), "validation")
    baseline, final = (
        per_image(runs, name, "validation", "loss")
        - np.array([[run.history["loss"].iloc[-1]] for run in runs_of(runs, name)])
        for name in ("baseline", "final")
    )
    this_run = f"validation - training loss: baseline {baseline.mean():+.2f}, final {final.mean():+.2f}"
    comparison = Comparison("gap of the baseline - gap of the final network", evaluation.paired(baseline, final))
    verdict, (low, high) = judge([comparison]), evaluation.mean_interval(baseline)
    evidence = f"{comparison.label}: {_shown(comparison.difference, 'loss')}; dropout 0.65 raises the training loss, and so shrinks the gap"
    if verdict == SUPPORTED and low <= 0:
        return Judgement(
            this_run, UNDECIDED, f"{evidence}; the baseline does not overfit here: its gap is {low:+.2f} to {high:+.2f}"
        )
    return Judgement(this_run, verdict, evidence)


def _disgust_never_recognised(runs: dict) -> Judgement:
    """Is no image of disgust recognised? Contradicted where they are called disgust clearly more often than other faces are."""
    name, disgust = "baseline_test_validation", CLASSES.index("disgust")
    images = _labels(runs, [name], "clean") == disgust
    if not images.any():
        return Judgement("no images of disgust", NOT_RUN, "the test set holds no image of disgust")
    called = np.mean([run.logits("clean").argmax(axis=1) == disgust for run in runs_of(runs, name)], axis=0)
    table = [[round(called[of].sum()), round((1 - called[of]).sum())] for of in (images, ~images)]
    (right, _), (wrong, _), p = *table, stats.fisher_exact(table, alternative="greater").pvalue
    return Judgement(
        f"{right} of {images.sum()} images recognised",
        SUPPORTED if right == 0 else CONTRADICTED if p < 0.05 else UNDECIDED,
        f"of {np.sum(~images):,} other faces {wrong} are called disgust, too; p {p:.2g} that both are as often (Fisher's exact test)",
    )


def _five_classes_better(runs: dict) -> Judgement:
    """Is the final network's recall clearly higher in five classes, or clearly lower in three?"""
    labels = _labels(runs, ("final", "baseline"), "clean")
    final, baseline = (per_image(runs, name, "clean", "accuracy") for name in ("final", "baseline"))
    present = [c for c in range(len(CLASSES)) if np.sum(labels == c) >= 2]
    differences = [evaluation.paired(final[:, labels == c], baseline[:, labels == c]) for c in present]
    better, worse = _clear(differences)
    return Judgement(
        f"more correct in {sum(difference.value > 0 for difference in differences)} of {len(present)} classes",
        SUPPORTED if better >= 5 else CONTRADICTED if worse >= 3 else UNDECIDED,
        f"after Holm's correction {better} clearly better, {worse} clearly worse: "
        + ", ".join(f"{CLASSES[c]} {_shown(d, 'accuracy')}" for c, d in zip(present, differences)),
    )


def _against(other: str, test_sets=TEST_SETS):
    return [("final", other, test_set) for test_set in test_sets]


@functools.cache
def _claims() -> list[Claim]:
    """The hypotheses and conclusions, in the order of the notebooks."""
    matrices = published_confusions()
    disgust = matrices["baseline_test_validation"][CLASSES.index("disgust")]
    classes = np.sum(matrices["final"].diagonal() > matrices["baseline"].diagonal())
    steps = (("dropout_0.5", "blocks_4"), ("dropout_0.65", "dropout_0.5"))

    def best_blocks(best, *test_sets):
        return [
            (f"blocks_{best}", f"blocks_{blocks}", test_set)
            for test_set in test_sets
            for blocks in range(1, 6)
            if blocks != best
        ]

    return [
        Claim(
            "03",
            "The baseline overfits after 20 to 30 epochs",
            "6.1.1",
            "validation loss rises after epoch 20-30 of 100 (Figure 7)",
            ("baseline_test_validation",),
            _baseline_overfits,
        ),
        Claim(
            "03",
            "The baseline never recognises disgust",
            "6.1.2",
            f"{disgust[1]} of {disgust.sum()} images recognised",
            ("baseline_test_validation",),
            _disgust_never_recognised,
        ),
        _ordered(
            "03",
            "A separate validation set lowers the baseline's accuracy",
            "6.1.3",
            [("baseline_test_validation", "baseline", "clean")],
            "accuracy",
        ),
        _ordered(
            "03",
            "A separate validation set lowers the baseline's loss",
            "6.1.3",
            [("baseline", "baseline_test_validation", "clean")],
            "loss",
        ),
        _easiest_distortion(
            "Of the distortions, the baseline is the most accurate under Gaussian noise",
            "6.1.3, Table 2",
            "gaussian_noise",
            "accuracy",
        ),
        _easiest_distortion(
            "Of the distortions, the baseline has the lowest loss under occlusion",
            "6.1.3, Table 2",
            "occlusion",
            "loss",
        ),
        _ordered(
            "04",
            "Hypothesis 1: 3 blocks are the most accurate on undistorted images",
            "7, Table 3",
            best_blocks(3, "clean"),
            "accuracy",
            _most_accurate,
        ),
        _ordered(
            "04",
            "Hypothesis 1: 3 blocks are the most accurate on the distorted test set",
            "7, Tables 4-8 (their mean)",
            best_blocks(3, "distorted_overall"),
            "accuracy",
            _most_accurate,
        ),
        _ordered(
            "04",
            "2 blocks have the lowest loss on all test sets but the blurred one",
            "8.1, Tables 3, 5-8",
            best_blocks(2, *(name for name in TEST_SETS if name != "gaussian_blur")),
            "loss",
        ),
        _ordered(
            "04",
            "1 block is the most accurate on blurred, salt-and-pepper and speckled images",
            "8.1, Tables 4, 6, 7",
            best_blocks(1, "gaussian_blur", "salt_pepper", "speckle"),
            "accuracy",
        ),
        _ordered(
            "04",
            "2 blocks are the most accurate on occluded images",
            "8.1, Table 8",
            best_blocks(2, "occlusion"),
            "accuracy",
            _most_accurate,
        ),
        _ordered(
            "04",
            "5 blocks are the most accurate under Gaussian noise",
            "8.1, Table 5",
            best_blocks(5, "gaussian_noise"),
            "accuracy",
            _most_accurate,
        ),
        _ordered(
            "04",
            "Simpler networks are more accurate on the distorted test set: 1 and 2 blocks than 4 and 5",
            "8.1",
            [(f"blocks_{few}", f"blocks_{many}", "distorted_overall") for few in (1, 2) for many in (4, 5)],
            "accuracy",
            _each,
        ),
        _ordered(
            "05",
            "Hypothesis 2: the test loss falls as dropout rises, on all six test sets",
            "7, Tables 9-14",
            [(*step, test_set) for test_set in TEST_SETS for step in steps],
            "loss",
        ),
        _ordered(
            "05",
            "Dropout 0.5 is the most accurate on undistorted images",
            "8.2, Table 9",
            [("dropout_0.5", other, "clean") for other in ("blocks_4", "dropout_0.65")],
            "accuracy",
            _most_accurate,
        ),
        Claim(
            "06",
            "The final network recognises more images than the baseline in 5 of 7 classes",
            "9",
            f"more correct in {classes} of 7 classes",
            ("final", "baseline"),
            _five_classes_better,
        ),
        _ordered(
            "06",
            "The final network is less accurate than the baseline on undistorted images",
            "9, Table 15",
            [("baseline", "final", "clean")],
            "accuracy",
        ),
        _ordered(
            "06",
            "The final network is less accurate than the baseline under Gaussian noise and speckle",
            "9, Tables 17, 19",
            [("baseline", "final", name) for name in ("gaussian_noise", "speckle")],
            "accuracy",
        ),
        Claim(
            "06",
            "The final network overfits less than the baseline",
            "9, 10",
            "its training and validation losses end at about the same level (Figure 10)",
            ("final", "baseline"),
            _final_overfits_less,
        ),
        _ordered(
            "06",
            "The final network has a lower loss than the baseline on all six test sets",
            "10, Tables 15-20",
            _against("baseline"),
            "loss",
        ),
        _ordered(
            "06",
            "The final network is more accurate than the baseline on blurred, salt-and-pepper and occluded images",
            "10, Tables 16, 18, 20",
            _against("baseline", ("gaussian_blur", "salt_pepper", "occlusion")),
            "accuracy",
        ),
        _ordered(
            "07",
            "The final network has a lower loss than EfficientNet on all six test sets",
            "10, Tables 15-20",
            _against("efficientnet"),
            "loss",
        ),
        _ordered(
            "07",
            "The final network is more accurate than EfficientNet on all six test sets",
            "10, Tables 15-20",
            _against("efficientnet"),
            "accuracy",
        ),
    ]


def _judgement(claim: Claim, runs: dict) -> Judgement:
    """What these runs say of a claim, by the rules above."""
    names = {name: network_name(runs, name) for name in claim.networks}
    found, trained = ({name: of(runs, name) for name in names} for of in (runs_of, as_reported))
    lacking = [names[name] for name in names if not trained[name]]
    if not lacking:
        return _judged(claim, trained)
    if claim.in_part and (some := _judged(claim, trained)) and some.verdict == CONTRADICTED:
        return some._replace(
            evidence=f"{some.evidence}; that is enough, whatever these would give: {'; '.join(lacking)}"
        )
    if missing := [names[name] for name in names if not found[name]]:
        return Judgement(NOT_RUN, NOT_RUN, f"needs networks that were not trained: {'; '.join(missing)}")
    if not one_schedule(runs, names):
        return Judgement(
            "not compared",
            OTHERWISE,
            f"needs networks that were trained on one schedule, not {'; '.join(names.values())}",
        )
    judgement = _judged(claim, found)
    if judgement.verdict not in JUDGED:
        return judgement
    return judgement._replace(
        verdict=OTHERWISE, evidence=f"by these trainings {judgement.verdict}: {judgement.evidence}"
    )


def _judged(claim: Claim, runs: dict) -> Judgement | None:
    """`claim.judged` with the numbers of seeds, where there are several."""
    judgement = claim.judged(alike(runs, runs))
    seeds = [len(found) for found in runs.values() if found]
    if judgement is None or max(seeds) == 1:
        return judgement
    first = " (beside a single one, the first of each)" if min(seeds) == 1 else ""
    return judgement._replace(evidence=f"{judgement.evidence}; seeds: {', '.join(map(str, seeds))}{first}")


def verdicts(runs: dict, notebook: str | None = None) -> pd.DataFrame:
    """Every claim with its verdict.

    Args:
        runs: experiment -> list of runs.
        notebook: "03" to "07" for the claims that this notebook answers; None for all.

    Returns:
        DataFrame, one row a claim: claim, verdict (one of VERDICTS), epochs (that its networks were trained, of the report's), report
        says, this run, evidence, source (section or tables of the report).

    Raises:
        InputError: two networks of one claim were tested on different images.

    Source: report, sections 6.1 and 7 to 10. Used in: 03 to 07, and on the index page.
    """
    rows = []
    for claim in _claims():
        if notebook not in (None, claim.notebook):
            continue
        this_run, verdict, evidence = _judgement(claim, runs)
        if "Gaussian noise" in claim.text and verdict != NOT_RUN:
            evidence += f"; {NOISE}"
        epochs = ", ".join(dict.fromkeys(epochs_of(runs, name) for name in claim.networks))
        rows.append((claim.text, verdict, epochs, claim.says, this_run, evidence, claim.source))
    return pd.DataFrame(rows, columns=["claim", "verdict", "epochs", "report says", "this run", "evidence", "source"])


def orders(runs: dict) -> pd.DataFrame:
    """Does the order hold that the report found between two networks?

    Args:
        runs: experiment of the report's tables -> list of runs; each two are compared.

    Returns:
        DataFrame, one row a pair: networks, epochs (that they were trained, of the report's); then for accuracy and for loss: on how
        many whole test sets the better one is the report's ("5 of 6"; sets on which the report has a tie are left out), on how many
        clearly, and on how many the other one is clearly better (its 95 % interval lies on that side of 0, and p < 0.05 after Holm's
        correction over these sets). "not run", or "trained otherwise" where the two had no common schedule.

    Source: report, Tables 3-14. Used in: 04, 05.
    """
    rows = []
    for two in itertools.combinations(runs, 2):
        epochs = dict.fromkeys(epochs_of(runs, name) for name in two)
        row = {"networks": " and ".join(network_name(runs, name) for name in two), "epochs": ", ".join(epochs)}
        lacking = (
            NOT_RUN if not all(runs_of(runs, name) for name in two) else "" if one_schedule(runs, two) else OTHERWISE
        )
        for metric in DIGITS:
            cells = (lacking,) * 3
            if not lacking:
                differences = [
                    comparison.difference
                    for comparison in _comparisons(alike(runs, two), _report_order(two, metric), metric)
                ]
                cells = (
                    f"{sum(difference.value > 0 for difference in differences)} of {len(differences)}",
                    *_clear(differences),
                )
            row |= dict(
                zip((f"{metric}: as in the report", f"{metric}: clearly", f"{metric}: clearly reversed"), cells)
            )
        rows.append(row)
    return pd.DataFrame(rows)


def _report_order(two: tuple[str, str], metric: str) -> list[tuple[str, str, str]]:
    """(better network, worse network, test set), as the report has them; without its ties."""
    pairs = []
    for test_set in TEST_SETS:
        first, second = (_published_value(name, test_set, metric) for name in two)
        if first != second:
            pairs.append((*(two if (first > second) == (metric == "accuracy") else reversed(two)), test_set))
    return pairs
