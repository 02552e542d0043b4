"""The report's hypotheses and conclusions, judged from a run's stored logits.

Most claims are broken into comparisons of two networks on the same test images (`evaluation.paired`), turned so that a
positive difference speaks for the claim. Distortions are those on the whole test set, which see more than the report's
fifths; "the distorted test set" is its five fifths. Then:

    supported                       every 95 % interval lies above 0, with p < 0.05 (all must: no correction is needed)
    contradicted                    some interval lies below 0, and its p survives Holm's correction over the claim
    undecided at this sample size   neither
    trained otherwise               a network had not the report's schedule or kind of weights: the evidence says what
                                    came of it
    not run                         a network that the claim is about was not trained

A claim that all its comparisons are positive falls with one that is not: it is contradicted as soon as the networks
that had the report's schedule suffice for that, whatever the others would give (in Holm's correction their p is 1).

The claims about overfitting, disgust and five of seven classes have rules of their own, which their functions give.
Networks that were not trained as the report's are compared only where they had one schedule (`Runs.one_schedule`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ferhelpers import distortions, evaluation
from ferhelpers.comparisons import OTHERWISE, Comparison, clear, comparisons
from ferhelpers.data import CLASSES
from ferhelpers.evaluation import Difference
from ferhelpers.published import DIGITS, NETWORKS, TEST_SETS, published_value
from ferhelpers.runs import NOT_RUN, Runs

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided at this sample size"
JUDGED = (SUPPORTED, CONTRADICTED, UNDECIDED)
VERDICTS = (*JUDGED, OTHERWISE, NOT_RUN)
PLATEAU = (20, 30)  # the epochs after which the report sees the baseline overfit
NOISE = "the reading of the report's Gaussian noise was chosen to match its numbers"


class Claim(NamedTuple):
    """One hypothesis or conclusion of the report.

    Attributes:
        notebook: "03" to "07", where it is answered.
        source: section or tables of the report.
        text: what the report claims.
        rule: of RULES. "accuracy": in each of `networks`, a pair, the first is more accurate on every test set; "loss":
            its loss is lower; "easiest": the network does best under the first of `test_sets`.
        networks: pairs (better, worse), or what the rule takes.
        test_sets: that it is about.
        metric: of "easiest".
        says: what the report found, where the rule does not take it from the report's tables.
    """

    notebook: str
    source: str
    text: str
    rule: str
    networks: tuple[tuple[str, ...], ...]
    test_sets: tuple[str, ...] = ()
    metric: str = ""
    says: str = ""

    @property
    def names(self) -> list[str]:
        """The networks that it is about, once each."""
        return list(dict.fromkeys(itertools.chain(*self.networks)))


def _best(blocks: int) -> tuple[tuple[str, str], ...]:
    """The network of so many blocks before each of the other four."""
    return tuple((f"blocks_{blocks}", f"blocks_{other}") for other in range(1, 6) if other != blocks)


CLEAN, DISTORTED, NOISY, OCCLUDED = ("clean",), ("distorted_overall",), ("gaussian_noise",), ("occlusion",)
NOT_BLURRED = tuple(name for name in TEST_SETS if name != "gaussian_blur")
VALIDATED_ON_TEST, SEPARATE, FINAL = "baseline_test_validation", "baseline", "final"

# fmt: off
CLAIMS = (  # in the order of the notebooks
    Claim("03", "6.1.1", "The baseline overfits after 20 to 30 epochs", "overfits",
          ((VALIDATED_ON_TEST,),), says="validation loss rises after epoch 20-30 of 100 (Figure 7)"),
    Claim("03", "6.1.2", "The baseline never recognises disgust", "disgust",
          ((VALIDATED_ON_TEST,),), CLEAN, says="0 of 49 images recognised"),
    Claim("03", "6.1.3", "A separate validation set lowers the baseline's accuracy", "accuracy",
          ((VALIDATED_ON_TEST, SEPARATE),), CLEAN),
    Claim("03", "6.1.3", "A separate validation set lowers the baseline's loss", "loss",
          ((SEPARATE, VALIDATED_ON_TEST),), CLEAN),
    Claim("03", "6.1.3, Table 2", "Of the distortions, the baseline is the most accurate under Gaussian noise",
          "easiest", ((SEPARATE,),), NOISY, "accuracy"),
    Claim("03", "6.1.3, Table 2", "Of the distortions, the baseline has the lowest loss under occlusion",
          "easiest", ((SEPARATE,),), OCCLUDED, "loss"),
    Claim("04", "7, Table 3", "Hypothesis 1: 3 blocks are the most accurate on undistorted images", "accuracy",
          _best(3), CLEAN),
    Claim("04", "7, Tables 4-8 (their mean)",
          "Hypothesis 1: 3 blocks are the most accurate on the distorted test set", "accuracy",
          _best(3), DISTORTED),
    Claim("04", "8.1, Tables 3, 5-8", "2 blocks have the lowest loss on all test sets but the blurred one", "loss",
          _best(2), NOT_BLURRED),
    Claim("04", "8.1, Tables 4, 6, 7",
          "1 block is the most accurate on blurred, salt-and-pepper and speckled images", "accuracy",
          _best(1), ("gaussian_blur", "salt_pepper", "speckle")),
    Claim("04", "8.1, Table 8", "2 blocks are the most accurate on occluded images", "accuracy",
          _best(2), OCCLUDED),
    Claim("04", "8.1, Table 5", "5 blocks are the most accurate under Gaussian noise", "accuracy",
          _best(5), NOISY),
    Claim("04", "8.1",
          "Simpler networks are more accurate on the distorted test set: 1 and 2 blocks than 4 and 5", "accuracy",
          tuple(itertools.product(("blocks_1", "blocks_2"), ("blocks_4", "blocks_5"))), DISTORTED),
    Claim("05", "7, Tables 9-14", "Hypothesis 2: the test loss falls as dropout rises, on all six test sets", "loss",
          (("dropout_0.5", "blocks_4"), ("dropout_0.65", "dropout_0.5")), TEST_SETS),
    Claim("05", "8.2, Table 9", "Dropout 0.5 is the most accurate on undistorted images", "accuracy",
          (("dropout_0.5", "blocks_4"), ("dropout_0.5", "dropout_0.65")), CLEAN),
    Claim("06", "9", "The final network recognises more images than the baseline in 5 of 7 classes", "five classes",
          ((FINAL, SEPARATE),), CLEAN, says="more correct in 5 of 7 classes"),
    Claim("06", "9, Table 15", "The final network is less accurate than the baseline on undistorted images", "accuracy",
          ((SEPARATE, FINAL),), CLEAN),
    Claim("06", "9, Tables 17, 19",
          "The final network is less accurate than the baseline under Gaussian noise and speckle", "accuracy",
          ((SEPARATE, FINAL),), ("gaussian_noise", "speckle")),
    Claim("06", "9, 10", "The final network overfits less than the baseline", "overfits less",
          ((FINAL, SEPARATE),), says="its training and validation losses end at about the same level (Figure 10)"),
    Claim("06", "10, Tables 15-20", "The final network has a lower loss than the baseline on all six test sets", "loss",
          ((FINAL, SEPARATE),), TEST_SETS),
    Claim("06", "10, Tables 16, 18, 20",
          "The final network is more accurate than the baseline on blurred, salt-and-pepper and occluded images",
          "accuracy", ((FINAL, SEPARATE),), ("gaussian_blur", "salt_pepper", "occlusion")),
    Claim("07", "10, Tables 15-20", "The final network has a lower loss than EfficientNet on all six test sets", "loss",
          ((FINAL, "efficientnet"),), TEST_SETS),
    Claim("07", "10, Tables 15-20", "The final network is more accurate than EfficientNet on all six test sets",
          "accuracy", ((FINAL, "efficientnet"),), TEST_SETS),
)
# fmt: on


class Judgement(NamedTuple):
    """What a run says of a claim: columns of `verdicts`."""

    this_run: str
    verdict: str
    evidence: str


def verdicts(runs: Runs, notebook: str | None = None) -> pd.DataFrame:
    """Every claim with its verdict.

    Args:
        notebook: "03" to "07" for the claims that this notebook answers; None for all.

    Returns:
        DataFrame, one row a claim: claim, verdict (one of VERDICTS), epochs (that its networks were trained, of the
        report's), report says, this run, evidence, source (section or tables of the report).

    Raises:
        InputError: two networks of one claim were tested on different images.

    Source: report, sections 6.1 and 7 to 10.
    """
    rows = []
    for claim in CLAIMS:
        if notebook not in (None, claim.notebook):
            continue
        judgement = _judgement(claim, runs)
        noisy = "Gaussian noise" in claim.text and judgement.verdict != NOT_RUN
        rows.append(
            {
                "claim": claim.text,
                "verdict": judgement.verdict,
                "epochs": ", ".join(dict.fromkeys(runs.epochs(name) for name in claim.names)),
                "report says": _report_says(claim),
                "this run": judgement.this_run,
                "evidence": judgement.evidence + f"; {NOISE}" * noisy,
                "source": claim.source,
            }
        )
    return pd.DataFrame(rows)


def _judgement(claim: Claim, runs: Runs) -> Judgement:
    """What these runs say of a claim, by the rules above."""
    trained = runs.only(*claim.names)
    reported = trained.as_reported()
    lacking = [runs.label(name) for name in claim.names if not reported[name]]
    if not lacking:
        return _judged(claim, reported)
    if claim.rule in DIGITS and (some := _judged(claim, reported)) and some.verdict == CONTRADICTED:
        enough = f"that is enough, whatever these would give: {'; '.join(lacking)}"
        return some._replace(evidence=f"{some.evidence}; {enough}")
    if missing := [runs.label(name) for name in claim.names if not trained[name]]:
        return Judgement(NOT_RUN, NOT_RUN, f"needs networks that were not trained: {'; '.join(missing)}")
    if not trained.one_schedule(*claim.names):
        labels = "; ".join(runs.label(name) for name in claim.names)
        return Judgement("not compared", OTHERWISE, f"needs networks that were trained on one schedule, not {labels}")
    judgement = _judged(claim, trained)
    if judgement.verdict not in JUDGED:
        return judgement
    evidence = f"by these trainings {judgement.verdict}: {judgement.evidence}"
    return judgement._replace(verdict=OTHERWISE, evidence=evidence)


def _judged(claim: Claim, runs: Runs) -> Judgement | None:
    """What the claim's rule gives, with the numbers of seeds, where there are several."""
    judgement = RULES[claim.rule](claim, runs.alike(*runs))
    seeds = [len(of_network) for of_network in runs.values() if of_network]
    if judgement is None or max(seeds) == 1:
        return judgement
    first = " (beside a single one, the first of each)" if min(seeds) == 1 else ""
    return judgement._replace(evidence=f"{judgement.evidence}; seeds: {', '.join(map(str, seeds))}{first}")


def judge(comparisons: list[Comparison], lacking: int = 0) -> str:
    """The verdict on a claim that says that every comparison is positive: these, and others that are `lacking`."""
    differences = [comparison.difference for comparison in comparisons]
    if not lacking and all(difference.low > 0 and difference.p < 0.05 for difference in differences):
        return SUPPORTED
    return CONTRADICTED if clear(differences, lacking)[1] else UNDECIDED


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


def _shown(difference: Difference, metric: str) -> str:
    scale, unit = (100, " points") if metric == "accuracy" else (1, "")
    value, low, high = (scale * number for number in difference[:3])
    return f"{value:+.2f}{unit} ({low:+.2f} to {high:+.2f})"


def _report_says(claim: Claim) -> str:
    if claim.rule == "easiest":
        (name,), metric = claim.names, claim.metric
        return _best_of({of: published_value(name, of, metric) for of in distortions.NAMES}, metric)
    return claim.says or _told(claim, published_value, _pairs(claim))


def _pairs(claim: Claim) -> list[tuple[str, str, str]]:
    """(better network, worse network, test set) for each comparison of the claim."""
    return [(*pair, test_set) for test_set in claim.test_sets for pair in claim.networks]


def _ordered(claim: Claim, runs: Runs) -> Judgement | None:
    """Is the first network of every pair better on every test set? None where no pair was run."""

    def measured(name: str, test_set: str, metric: str) -> float:
        return float(runs.per_image(name, test_set, metric).mean())

    pairs = [pair for pair in _pairs(claim) if runs[pair[0]] and runs[pair[1]]]
    if not pairs:
        return None
    results = comparisons(runs, pairs, claim.rule)
    verdict = judge(results, lacking=len(_pairs(claim)) - len(pairs))
    return Judgement(_told(claim, measured, pairs), verdict, _evidence(results, claim.rule))


def _told(claim: Claim, value: Callable[[str, str, str], float], pairs: list[tuple[str, str, str]]) -> str:
    """What the plain numbers are: of some pairs of an ordered claim, by `value` (network, test set, metric)."""
    metric, digits = claim.rule, DIGITS[claim.rule]
    if len(claim.test_sets) > 1:  # on how many test sets every pair is in the claimed order
        holds = dict.fromkeys((test_set for *_, test_set in pairs), True)
        for better, worse, test_set in pairs:
            a, b = value(better, test_set, metric), value(worse, test_set, metric)
            holds[test_set] &= a > b if metric == "accuracy" else a < b
        return f"on {sum(holds.values())} of {len(holds)} test sets"
    (test_set,), (first, *_) = claim.test_sets, claim.names
    values = {name: value(name, test_set, metric) for pair in pairs for name in pair[:2]}
    if len(claim.networks) == 1:
        return " against ".join(f"{number:.{digits}f}" for number in values.values())
    if any(better != first for better, _ in claim.networks):
        return "; ".join(f"{NETWORKS[name]}: {number:.{digits}f}" for name, number in values.items())
    best, second, *_ = sorted(values, key=values.get, reverse=True)
    other = second if best == first else first  # the claimed network, if it is not the best
    return f"most accurate: {NETWORKS[best]}, {values[best]:.3f}; {NETWORKS[other]}: {values[other]:.3f}"


def _easiest_distortion(claim: Claim, runs: Runs) -> Judgement:
    """Among the distortions, all on the same images, does the network do best under the claimed one?"""
    (name,), (easiest,), metric = claim.names, claim.test_sets, claim.metric
    values = {distortion: runs.per_image(name, distortion, metric) for distortion in distortions.NAMES}
    results = []
    for other in distortions.NAMES:
        if other != easiest:
            pair = (easiest, other) if metric == "accuracy" else (other, easiest)
            difference = evaluation.paired(*(values[distortion] for distortion in pair), same_networks=True)
            results.append(Comparison(f"{easiest} against {other}", difference))
    means = {distortion: of_images.mean() for distortion, of_images in values.items()}
    return Judgement(_best_of(means, metric), judge(results), _evidence(results, metric))


def _best_of(values: dict[str, float], metric: str) -> str:
    best = (max if metric == "accuracy" else min)(values, key=values.get)
    return f"{best.replace('_', ' ')}: {values[best]:.{DIGITS[metric]}f}"


def _overfits(claim: Claim, runs: Runs) -> Judgement:
    """Is the validation loss of the last epochs above that of those in which the report sees it level off, as many?

    It jumps from epoch to epoch, so means of epochs are compared, by how far single ones lie apart (Welch's t test).
    """
    (name,), (first, last) = claim.names, PLATEAU
    curve = np.mean([run.history["val_loss"] for run in runs[name]], axis=0)
    lowest, count = curve.argmin(), last - first + 1
    at_end = f"{curve[-1]:.2f} at epoch {len(curve)}"
    this_run = f"validation loss {curve[lowest]:.2f} at epoch {lowest + 1} (lowest), {at_end}"
    if len(curve) < last + count:
        return Judgement(this_run, OTHERWISE, f"the claim is about the epochs after {last}; {len(curve)} were trained")
    end, level = curve[-count:], curve[first - 1 : last]
    test = stats.ttest_ind(end, level, equal_var=False)
    rise = Difference(end.mean() - level.mean(), *test.confidence_interval(), test.pvalue, 2 * count)
    evidence = f"mean of the last {count} epochs minus that of epochs {first} to {last}: {_shown(rise, 'loss')}"
    return Judgement(this_run, judge([Comparison("", rise)]), evidence)


def _overfits_less(claim: Claim, runs: Runs) -> Judgement:
    """Is the gap between validation and training loss after the last epoch smaller for the final network?

    The training loss is Keras' mean over the epoch, with dropout and augmentation, as in the report's Figure 10: it
    rises with dropout, which alone makes the gap smaller. A baseline without a gap cannot support the claim.
    """
    runs.labels("validation", *claim.names)
    final, baseline = (
        runs.per_image(name, "validation", "loss") - np.array([[run.history["loss"].iloc[-1]] for run in runs[name]])
        for name in claim.names
    )
    this_run = f"validation - training loss: baseline {baseline.mean():+.2f}, final {final.mean():+.2f}"
    comparison = Comparison("gap of the baseline - gap of the final network", evaluation.paired(baseline, final))
    verdict, (low, high) = judge([comparison]), evaluation.mean_interval(baseline)
    shown = f"{comparison.label}: {_shown(comparison.difference, 'loss')}"
    evidence = f"{shown}; dropout 0.65 raises the training loss, and so shrinks the gap"
    if verdict == SUPPORTED and low <= 0:
        evidence = f"{evidence}; the baseline does not overfit here: its gap is {low:+.2f} to {high:+.2f}"
        return Judgement(this_run, UNDECIDED, evidence)
    return Judgement(this_run, verdict, evidence)


def _disgust_never_recognised(claim: Claim, runs: Runs) -> Judgement:
    """Is no image of disgust recognised? Contradicted where they are clearly called it more often than others."""
    (name,), (test_set,), disgust = claim.names, claim.test_sets, CLASSES.index("disgust")
    images = runs.labels(test_set, name) == disgust
    if not images.any():
        return Judgement("no images of disgust", NOT_RUN, "the test set holds no image of disgust")
    called = np.mean([run.logits(test_set).argmax(axis=1) == disgust for run in runs[name]], axis=0)
    table = [[round(called[of].sum()), round((1 - called[of]).sum())] for of in (images, ~images)]
    (right, _), (wrong, _), p = *table, stats.fisher_exact(table, alternative="greater").pvalue
    return Judgement(
        f"{right} of {images.sum()} images recognised",
        SUPPORTED if right == 0 else CONTRADICTED if p < 0.05 else UNDECIDED,
        f"of {np.sum(~images):,} other faces {wrong} are called disgust, too; "
        f"p {p:.2g} that both are as often (Fisher's exact test)",
    )


def _five_classes_better(claim: Claim, runs: Runs) -> Judgement:
    """Is the final network's recall clearly higher in five classes, or clearly lower in three?"""
    (test_set,), labels = claim.test_sets, runs.labels(*claim.test_sets, *claim.names)
    final, baseline = (runs.per_image(name, test_set, "accuracy") for name in claim.names)
    present = [c for c in range(len(CLASSES)) if np.sum(labels == c) >= 2]
    differences = [evaluation.paired(final[:, labels == c], baseline[:, labels == c]) for c in present]
    better, worse = clear(differences)
    return Judgement(
        f"more correct in {sum(difference.value > 0 for difference in differences)} of {len(present)} classes",
        SUPPORTED if better >= 5 else CONTRADICTED if worse >= 3 else UNDECIDED,
        f"after Holm's correction {better} clearly better, {worse} clearly worse: "
        + ", ".join(f"{CLASSES[c]} {_shown(d, 'accuracy')}" for c, d in zip(present, differences)),
    )


RULES = {
    "accuracy": _ordered,
    "loss": _ordered,
    "easiest": _easiest_distortion,
    "overfits": _overfits,
    "overfits less": _overfits_less,
    "disgust": _disgust_never_recognised,
    "five classes": _five_classes_better,
}
