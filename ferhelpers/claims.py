"""The report's hypotheses and conclusions, judged from the stored logits of trainings.

Most claims are broken into comparisons of two networks on the same test images (`evaluation.paired`), turned so that a
positive difference speaks for the claim. Distortions are those on the whole test set, which see more than the report's
fifths; "the distorted test set" is its five fifths. Then:

    supported                       every 95 % interval lies above 0, with p < 0.05 (all must: no correction is needed)
    contradicted                    some interval lies below 0, and its p survives Holm's correction over the claim
    undecided at this sample size   neither
    trained otherwise               a network had not the report's images, schedule, kind of weights or length: the
                                    evidence says what came of it
    not run                         a network that the claim is about was not trained

A claim of several comparisons is contradicted by one that is clearly negative, even if other networks had not the
report's schedule (in Holm's correction the p of theirs is 1).

The claims about overfitting and single classes have rules of their own, which their functions give. Networks that were
not trained as the report's are compared only where they had one schedule (`Runs.one_schedule`). Only FER-2013 judges:
with drawn faces no claim has a verdict.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import NamedTuple

import numpy as np
import pandas as pd

from ferhelpers import comparisons, defects, distortions, evaluation
from ferhelpers.comparisons import OTHERWISE, clear
from ferhelpers.data import CLASSES
from ferhelpers.errors import InputError
from ferhelpers.evaluation import FEWEST, RECALL_SPREAD, Difference
from ferhelpers.experiments import PROTOCOL
from ferhelpers.published import DIGITS, NETWORKS, TEST_SETS, by_network, published_confusions, published_value
from ferhelpers.runs import NOT_RUN, Runs

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided at this sample size"
JUDGED = (SUPPORTED, CONTRADICTED, UNDECIDED)
VERDICTS = (*JUDGED, OTHERWISE, NOT_RUN)
# Why a verdict may not hold; the last two of the short schedule, whose networks are narrow, too.
NOISE = "noise chosen to match the report"
DROPOUT = "short schedule too short or too narrow for dropout 0.65"
OVERFITTING = "short schedule ends before overfitting raises losses"


class Claim(NamedTuple):
    """One hypothesis or conclusion of the report.

    Attributes:
        notebook: "03" to "07", where it is answered.
        source: section or tables of the report.
        text: what the report claims.
        rule: of RULES. "accuracy": in each of `networks`, a pair, the first is more accurate on every test set; "loss":
            its loss is lower; "easiest": the network does best under the one distortion of `test_sets`.
        networks: pairs (better, worse), or what the rule takes.
        test_sets: that it is about.
        metric: of "easiest".
        share: of "loss": of the other network's loss, which the first one's is below.
        epochs: of the rules about validation losses: those that the last epochs are compared with, first and last, of a
            study whose longest trainings have 100.
        says: what the report found, where the rule does not take it from the report's tables.
    """

    notebook: str
    source: str
    text: str
    rule: str
    networks: tuple[tuple[str, ...], ...]
    test_sets: tuple[str, ...] = ()
    metric: str = ""
    share: float = 1.0
    epochs: tuple[int, int] = ()
    says: str = ""

    @property
    def names(self) -> list[str]:
        """The networks that it is about, once each."""
        return list(dict.fromkeys(itertools.chain(*self.networks)))

    @property
    def noisy(self) -> bool:
        """Whether the reading of the report's Gaussian noise matters to it."""
        return self.rule == "easiest" or not {"gaussian_noise", "distorted_overall"}.isdisjoint(self.test_sets)

    @property
    def early(self) -> list[str]:
        """Why longer trainings than the short schedule's may turn its verdict."""
        slow, lossy = not {FINAL, DROPOUT_65}.isdisjoint(self.names), "loss" in (self.rule, self.metric)
        return [DROPOUT] * slow + [OVERFITTING] * lossy


def _best(blocks: int) -> tuple[tuple[str, str], ...]:
    """The network of so many blocks before each of the other four."""
    return tuple((f"blocks_{blocks}", f"blocks_{other}") for other in range(1, 6) if other != blocks)


CLEAN, DISTORTED = ("clean",), ("distorted_overall",)
BLURRED, NOISY, OCCLUDED = ("gaussian_blur",), ("gaussian_noise",), ("occlusion",)
NOT_BLURRED = tuple(name for name in TEST_SETS if name != "gaussian_blur")
VALIDATED_ON_TEST, SEPARATE, FINAL = "baseline_test_validation", "baseline", "final"
DROPOUT_30, DROPOUT_50, DROPOUT_65 = "blocks_4", "dropout_0.5", "dropout_0.65"

# fmt: off
CLAIMS = (  # in the order of the notebooks
    Claim("03", "6.1.1", "The baseline overfits after 20 to 30 epochs", "overfits",
          ((VALIDATED_ON_TEST,),), epochs=(20, 30), says="validation loss rises after epoch 20-30 of 100 (Figure 7)"),
    Claim("03", "6.1.2", "The baseline never recognises disgust", "disgust",
          ((VALIDATED_ON_TEST,),), CLEAN, says="0 of 49 images recognised"),
    Claim("03", "6.1.2, Table 1",
          "Of the distortions, the baseline validated on the test set is the most accurate under Gaussian noise",
          "easiest", ((VALIDATED_ON_TEST,),), NOISY, "accuracy"),
    Claim("03", "6.1.2, Table 1",
          "Of the distortions, the baseline validated on the test set has the lowest loss under occlusion",
          "easiest", ((VALIDATED_ON_TEST,),), OCCLUDED, "loss"),
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
    Claim("04", "8.1, Table 4", "1 block has the lowest loss on blurred images, and 2 blocks the second lowest", "loss",
          (*_best(1), *(("blocks_2", f"blocks_{other}") for other in (3, 4, 5))), BLURRED),
    Claim("04", "8.1, Tables 4, 6, 7",
          "1 block is the most accurate on blurred, salt-and-pepper and speckled images", "accuracy",
          _best(1), ("gaussian_blur", "salt_pepper", "speckle")),
    Claim("04", "8.1, Table 8", "2 blocks are the most accurate on occluded images", "accuracy",
          _best(2), OCCLUDED),
    Claim("04", "8.1, Table 5", "5 blocks are the most accurate under Gaussian noise", "accuracy",
          _best(5), NOISY),
    Claim("04", "8.1",
          "Simpler networks (read as 1 and 2 blocks, against 4 and 5) are more accurate on the distorted test set",
          "accuracy",
          tuple(itertools.product(("blocks_1", "blocks_2"), ("blocks_4", "blocks_5"))), DISTORTED),
    Claim("05", "7, Tables 9-14", "Hypothesis 2: the test loss falls as dropout rises, on all six test sets", "loss",
          ((DROPOUT_50, DROPOUT_30), (DROPOUT_65, DROPOUT_50)), TEST_SETS),
    Claim("05", "8.2, Tables 9, 11, 13, 14",
          "Dropout 0.65 has less than half the loss of 0.3 and 0.5 on undistorted, noisy, speckled and occluded images",
          "loss", ((DROPOUT_65, DROPOUT_30), (DROPOUT_65, DROPOUT_50)),
          ("clean", "gaussian_noise", "speckle", "occlusion"), share=0.5),
    Claim("05", "8.2, Table 9", "Dropout 0.5 is the most accurate on undistorted images", "accuracy",
          ((DROPOUT_50, DROPOUT_30), (DROPOUT_50, DROPOUT_65)), CLEAN),
    Claim("05", "8.2, Tables 10, 13", "Dropout 0.5 is the most accurate on blurred and speckled images", "accuracy",
          ((DROPOUT_50, DROPOUT_30), (DROPOUT_50, DROPOUT_65)), ("gaussian_blur", "speckle")),
    Claim("05", "8.2, Table 11", "Dropout 0.5 and 0.65 are more accurate than 0.3 under Gaussian noise", "accuracy",
          ((DROPOUT_50, DROPOUT_30), (DROPOUT_65, DROPOUT_30)), NOISY),
    Claim("05", "8.2, Tables 12, 14", "Dropout 0.65 is the most accurate on salt-and-pepper and occluded images",
          "accuracy", ((DROPOUT_65, DROPOUT_30), (DROPOUT_65, DROPOUT_50)), ("salt_pepper", "occlusion")),
    Claim("06", "9", "The final network's validation loss rises only after about 55 epochs", "rises later",
          ((FINAL,),), epochs=(28, 34), says="validation loss tended to go up after about 55 epochs"),
    Claim("06", "9", "The final network recognises more images than the baseline in 5 of 7 classes", "five classes",
          ((FINAL, SEPARATE),), CLEAN, says="more correct in 5 of 7 classes"),
    Claim("06", "9", "The baseline's lead over the final network is mainly due to fear and sad", "fear and sad",
          ((SEPARATE, FINAL),), CLEAN, says="fear and sad: 76 images more; the other classes: 73 fewer"),
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
    Claim("07", "9", "EfficientNet's validation loss rises only after about 20 epochs", "rises later",
          (("efficientnet",),), epochs=(9, 11), says="validation loss tended to go up after about 20 epochs"),
    Claim("07", "10, Tables 15-20", "The final network has a lower loss than EfficientNet on all six test sets", "loss",
          ((FINAL, "efficientnet"),), TEST_SETS),
    Claim("07", "10, Tables 15-20", "The final network is more accurate than EfficientNet on all six test sets",
          "accuracy", ((FINAL, "efficientnet"),), TEST_SETS),
)
# fmt: on


class Judgement(NamedTuple):
    """What runs say of a claim: columns of `verdicts`."""

    this_run: str
    verdict: str
    evidence: str


def verdicts(runs: Runs, notebook: str | None = None, short: Runs | None = None) -> pd.DataFrame:
    """Every claim with its verdict.

    Args:
        notebook: "03" to "07" for the claims that this notebook answers; None for all.
        short: runs of a shorter schedule, one for all, for a verdict of their own.

    Returns:
        DataFrame, one row a claim: claim, verdict (one of VERDICTS), with `short` also "short schedule" (what the same
        rule says of these runs, with their seeds: "supported (3 seeds)"), epochs (that its networks were trained, of
        the report's), report says, this run (or, where it lacks the networks, what `short` gives), caution (why a
        verdict may not hold, "" if nothing is known), evidence, source (section or tables of the report).

    Raises:
        InputError: two networks of one claim were tested on different images.

    Source: report, sections 6.1 and 7 to 10.
    """
    rows, judges, comparable = [], runs.on_fer2013().as_reported(), _comparable(short or Runs())
    for claim in CLAIMS:
        if notebook not in (None, claim.notebook):
            continue
        judgement = _judgement(claim, runs, judges)
        row = {"claim": claim.text, "verdict": judgement.verdict}
        evidence, judged, cautions = [judgement.evidence], [judgement], []
        if short is not None:
            of_short = _judgement(claim, short, comparable)
            seeds = f" ({_seeds(comparable.only(*claim.names))})" if of_short.verdict in JUDGED else ""
            row["short schedule"] = of_short.verdict + seeds
            judged.append(of_short)
            if of_short.verdict in JUDGED:
                cautions += claim.early
            if of_short.evidence not in judgement.evidence:
                evidence.append(f"short schedule: {of_short.evidence}")
        this_run = next((each.this_run for each in judged if each.this_run != NOT_RUN), NOT_RUN)
        if claim.noisy and any(each.verdict != NOT_RUN for each in judged):
            cautions.append(NOISE)
        row |= {
            "epochs": ", ".join(dict.fromkeys(runs.epochs(name) for name in claim.names)),
            "report says": _report_says(claim),
            "this run": this_run,
            "caution": "; ".join(cautions),
            "evidence": "; ".join(evidence),
            "source": claim.source,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def answer(runs: Runs, short: Runs | None = None) -> list[str]:
    """The study in three sentences: the final network, the claims, and what needs no training.

    Args:
        short: as in `verdicts`.

    Raises:
        InputError: as in `verdicts`.
    """
    short = short or Runs()
    return [_final_network(runs, short), _counts(runs, short), _own_numbers()]


def _final_network(runs: Runs, short: Runs) -> str:
    """How near the final network comes to the report's, by the training nearest to the report's."""
    candidates = (runs.on_fer2013().as_reported(), runs.on_fer2013(), short.on_fer2013())
    trained = next((part for part in candidates if part[FINAL]), None)
    if trained is None:
        return "The final network was not trained on FER-2013 here, so nothing can be set beside the report's."
    reported = trained is candidates[0]
    schedule = "the report's schedule" if reported else f"a schedule of {trained.epochs(FINAL)} epochs"
    cells = []
    for test_set, images in (("clean", "clean"), ("distorted_overall", "distorted")):
        accuracy = trained.mean(FINAL, test_set, "accuracy")
        report = published_value(FINAL, test_set, "accuracy")
        whose = "report" if test_set == "clean" else "report's mean"
        cells.append(f"{accuracy:.1%} of the {images} images ({whose}: {report:.1%})")
    shown = f"Trained on {schedule}{_size(trained.only(FINAL))}, the final network recognises {' and '.join(cells)}."
    return shown + " We chose this reading partly by its numbers: agreement proves nothing." * reported


def _counts(runs: Runs, short: Runs) -> str:
    """How many claims are supported, contradicted and undecided, and by which trainings."""
    frame, parts = verdicts(runs, short=short), []
    judged = frame[["verdict", "short schedule"]].apply(lambda column: column.str.startswith(JUDGED))
    if not judged.any(axis=None):
        return f"None of the report's {len(frame)} claims can be judged by the trainings here."
    for column, schedule, judges in (
        ("verdict", "the report's schedule", runs.on_fer2013().as_reported()),
        ("short schedule", "a short schedule", _comparable(short)),
    ):
        supported, contradicted, undecided = counts = [frame[column].str.startswith(word).sum() for word in JUDGED]
        if any(counts):
            parts.append(
                f"on {schedule}{_size(judges.only(*networks()))}: {supported} supported, "
                f"{contradicted} contradicted, {undecided} undecided, {len(frame) - sum(counts)} not judged"
            )
        elif column == "verdict":
            parts.append("none is judged on its schedule")
    counted = f"Of the report's {len(frame)} claims, {'; '.join(parts)}."
    if early := (judged["short schedule"] & np.array([bool(claim.early) for claim in CLAIMS])).sum():
        counted += f" Longer training of wider networks may turn {early}."
    if noisy := (judged.any(axis=1) & np.array([claim.noisy for claim in CLAIMS])).sum():
        counted += f" {noisy} verdicts use a noise chosen to match the report."
    return counted


def _own_numbers() -> str:
    """What the report's own numbers show, whatever a training gives."""
    margins = defects.margins([str(table) for table in range(3, 21)])
    leads = margins["second: 95 % interval"].str.startswith("+").sum()
    matrices = published_confusions()
    traces = [matrix.trace() / matrix.sum() for matrix in matrices.values()]
    accuracies = [by_network().accuracy[name, "clean"] for name in matrices]
    return (
        f"By the report's own numbers, the best network leads significantly in {leads} of {len(margins)} tables, and "
        "the confusion matrices cannot belong to the accuracies: they hold "
        f"{min(traces):.0%} to {max(traces):.0%} right answers, not {min(accuracies):.0%} to {max(accuracies):.0%}."
    )


def networks() -> list[str]:
    """The networks that the claims are about."""
    return list(dict.fromkeys(itertools.chain(*(claim.names for claim in CLAIMS))))


def _comparable(runs: Runs) -> Runs:
    """Runs on FER-2013 that started as the report's (EfficientNet from pre-trained weights), all of one schedule."""
    trained = runs.on_fer2013().only(*networks())
    if not trained.one_schedule(*trained):
        return Runs()
    return trained.where(
        lambda name, run: (run.config["experiment"]["weights"] == "none") == (PROTOCOL[name].weights == "none")
    )


def _judgement(claim: Claim, runs: Runs, judges: Runs) -> Judgement:
    """What these runs say of a claim, by the rules above; those that `judges` holds may judge it."""
    trained, judges = runs.only(*claim.names), judges.only(*claim.names)
    lacking = [runs.label(name) for name in claim.names if not judges[name]]
    if not lacking:
        return _judged(claim, judges)
    if claim.rule in DIGITS and (some := _judged(claim, judges)) and some.verdict == CONTRADICTED:
        enough = f"that is enough, whatever these would give: {'; '.join(lacking)}"
        return some._replace(evidence=f"{some.evidence}; {enough}")
    if missing := [runs.label(name) for name in claim.names if not trained[name]]:
        return Judgement(NOT_RUN, NOT_RUN, f"needs networks that were not trained: {'; '.join(missing)}")
    if not trained.one_schedule(*claim.names):
        labels = "; ".join(runs.label(name) for name in claim.names)
        return Judgement("not compared", OTHERWISE, f"needs networks that were trained on one schedule, not {labels}")
    judgement = _judged(claim, trained)
    if trained.on_fer2013() != trained:
        return judgement._replace(verdict=OTHERWISE, evidence="these images are not FER-2013's, and judge no claim")
    if judgement.verdict not in JUDGED:
        return judgement
    evidence = f"by these trainings {judgement.verdict}: {judgement.evidence}"
    return judgement._replace(verdict=OTHERWISE, evidence=evidence)


def _judged(claim: Claim, runs: Runs) -> Judgement | None:
    """What the claim's rule gives, with the number of seeds of each network."""
    judgement = RULES[claim.rule](claim, runs)
    seeds = ", ".join(str(len(trained)) for trained in runs.values() if trained)
    return judgement and judgement._replace(evidence=f"{judgement.evidence}; seeds: {seeds}")


def _size(runs: Runs) -> str:
    """How narrow the networks that were run are, and their seeds: ", with 25% of the filters (3 seeds)"."""
    width = min(run.config["experiment"]["width"] for run in runs.first().values())
    return f", with {width:.0%} of the filters" * (width != 1) + f" ({_seeds(runs)})"


def _seeds(runs: Runs) -> str:
    """How many seeds the networks have that were run: "1 seed", "3 seeds", "1 to 3 seeds"."""
    counts = [len(trained) for trained in runs.values() if trained]
    least, most = min(counts), max(counts)
    return f"{least} to {most} seeds" if least < most else f"{most} seed{'s' * (most > 1)}"


def judge(differences: Collection[Difference], lacking: int = 0) -> str:
    """The verdict on a claim that says that every difference is positive: these, and others that are `lacking`."""
    if not lacking and all(difference.low > 0 and difference.p < 0.05 for difference in differences):
        return SUPPORTED
    return CONTRADICTED if clear(differences, lacking)[1] else UNDECIDED


def _evidence(results: dict[str, Difference], metric: str, share: float = 1.0) -> str:
    """How many comparisons speak for and against, and the one that decides: the clearest against, else the weakest."""
    for_it = sum(difference.low > 0 for difference in results.values())
    _, against = clear(results.values())
    if against:
        negative = [label for label, difference in results.items() if difference.high < 0]
        decides, label = "clearest", min(negative, key=lambda label: results[label].p)
    else:
        decides, label = "weakest", min(results, key=lambda label: results[label].low)
    difference = results[label]
    if metric == "loss":  # was turned, so that a lower loss is positive
        difference = difference._replace(value=-difference.value, low=-difference.high, high=-difference.low)
    less = f" minus {share:g} of the other's" * (share != 1)
    return (
        f"{for_it} of {len(results)} comparisons support it, {against} speak against it after Holm's correction; "
        f"the {decides}: {label}, {metric}{less} {_shown(difference, metric)} on {difference.n:,} images"
    )


def _shown(difference: Difference, metric: str) -> str:
    scale, unit = (100, " points") if metric == "accuracy" else (1, "")
    value, low, high = (scale * number for number in difference[:3])
    return f"{value:+.2f}{unit} ({low:+.2f} to {high:+.2f})"


def _report_says(claim: Claim) -> str:
    if claim.rule == "easiest":
        (name,), metric = claim.names, claim.metric
        return _best_of({test_set: published_value(name, test_set, metric) for test_set in distortions.NAMES}, metric)
    return claim.says or _told(claim, published_value, _pairs(claim))


def _pairs(claim: Claim) -> list[tuple[str, str, str]]:
    """(better network, worse network, test set) for each comparison of the claim."""
    return [(*pair, test_set) for test_set in claim.test_sets for pair in claim.networks]


def _ordered(claim: Claim, runs: Runs) -> Judgement | None:
    """Is the first network of every pair better on every test set? None where no pair was run."""
    pairs = [pair for pair in _pairs(claim) if runs[pair[0]] and runs[pair[1]]]
    if not pairs:
        return None
    results = comparisons.differences(runs, pairs, claim.rule, claim.share)
    verdict = judge(results.values(), lacking=len(_pairs(claim)) - len(pairs))
    return Judgement(_told(claim, runs.mean, pairs), verdict, _evidence(results, claim.rule, claim.share))


def _told(claim: Claim, value: Callable[[str, str, str], float], pairs: list[tuple[str, str, str]]) -> str:
    """What the plain numbers are: of some pairs of an ordered claim, by `value` (network, test set, metric)."""
    metric, digits = claim.rule, DIGITS[claim.rule]
    if len(claim.test_sets) > 1:  # on how many test sets every pair is in the claimed order
        holds = dict.fromkeys((test_set for *_, test_set in pairs), True)
        for better, worse, test_set in pairs:
            a, b = value(better, test_set, metric), value(worse, test_set, metric)
            holds[test_set] &= a > b if metric == "accuracy" else a < claim.share * b
        return f"on {sum(holds.values())} of {len(holds)} test sets"
    (test_set,), (first, *_) = claim.test_sets, claim.names
    values = {name: value(name, test_set, metric) for pair in pairs for name in pair[:2]}
    if len(claim.networks) == 1:
        return " against ".join(f"{number:.{digits}f}" for number in values.values())
    if any(better != first for better, _ in claim.networks):
        return "; ".join(f"{NETWORKS[name]}: {values[name]:.{digits}f}" for name in NETWORKS if name in values)
    superlative, highest = ("most accurate", True) if metric == "accuracy" else ("lowest loss", False)
    best, second, *_ = sorted(values, key=values.get, reverse=highest)
    other = second if best == first else first  # the claimed network, if it is not the best
    of_best, of_other = (f"{values[name]:.{digits}f}" for name in (best, other))
    return f"{superlative}: {NETWORKS[best]}, {of_best}; {NETWORKS[other]}: {of_other}"


def _easiest_distortion(claim: Claim, runs: Runs) -> Judgement:
    """Among the distortions, all on the same images, does the network do best under the claimed one?

    The seeds of one network differ in what distortions do to them, so few are compared as if they were of two networks.
    """
    (name,), (easiest,), metric = claim.names, claim.test_sets, claim.metric
    values = {distortion: runs.per_image(name, distortion, metric) for distortion in distortions.NAMES}
    means, results = {distortion: of_images.mean() for distortion, of_images in values.items()}, {}
    best, enough = values.pop(easiest), len(runs[name]) >= FEWEST
    for other, of_other in values.items():
        sides = (best, of_other) if metric == "accuracy" else (of_other, best)
        spread = evaluation.seed_spread(easiest, metric, *sides, annealed=runs.annealed(name))
        results[f"{easiest} against {other}"] = evaluation.paired(*sides, spread, same_networks=enough)
    return Judgement(_best_of(means, metric), judge(results.values()), _evidence(results, metric))


def _best_of(values: dict[str, float], metric: str) -> str:
    best = (max if metric == "accuracy" else min)(values, key=values.get)
    return f"{best.replace('_', ' ')}: {values[best]:.{DIGITS[metric]}f}"


def _overfits(claim: Claim, runs: Runs) -> Judgement:
    """Do the validation losses end above where the report sees them level off (`evaluation.rise`)?"""
    this_run, rise, evidence = _rise(claim, runs)
    return Judgement(this_run, judge([rise]) if rise else OTHERWISE, evidence)


def _rises_later(claim: Claim, runs: Runs) -> Judgement:
    """Does the validation loss rise only after the report's last epoch?

    It does not where it has clearly risen since the middle of the training. The rest needs epochs that the report's
    schedule does not have, so these trainings cannot support it.
    """
    this_run, rise, evidence = _rise(claim, runs)
    if rise and clear([rise])[0]:
        return Judgement(this_run, CONTRADICTED, f"it rises before the last epoch: {evidence}")
    later = "no training goes on after the epoch at which the report stopped, so none can show a rise after it"
    return Judgement(this_run, OTHERWISE, f"{later}; {evidence}")


def _rise(claim: Claim, runs: Runs) -> tuple[str, Difference | None, str]:
    """What the validation losses are, their rise since the claim's epochs, and the evidence: why there is none, or it.

    A schedule with fewer epochs than the report's has its epochs in proportion. Where the learning rate is annealed,
    the end of the schedule pulls the loss down: its curve says nothing about one at the report's constant rate.
    """
    (name,) = claim.names
    schedule = runs[name][0].config["experiment"]
    curves = np.array([run.history["val_loss"] for run in runs[name]])
    mean, share = curves.mean(axis=0), schedule["study_epochs"] / 100
    this_run = (
        f"validation loss {mean.min():.2f} at epoch {mean.argmin() + 1} (lowest), {mean[-1]:.2f} at epoch {len(mean)}"
    )
    if schedule["annealing"] != "none":
        return this_run, None, "the learning rate falls to 0, so the loss follows the schedule, not the report's epochs"
    first, last = plateau = tuple(round(share * epoch) for epoch in claim.epochs)
    epochs = f"epochs {first} to {last} of {len(mean)}"
    if first < 1 or last == first:
        return this_run, None, f"too short: {len(mean)} epochs, in which the report's are {epochs}"
    try:
        rise = evaluation.rise(curves, plateau)
    except InputError as error:
        return this_run, None, f"the claim is about the epochs after {last}; {error}"
    evidence = f"mean of the last {rise.n // 2} epochs minus that of {epochs}: {_shown(rise, 'loss')}"
    return this_run, rise, evidence


def _overfits_less(claim: Claim, runs: Runs) -> Judgement:
    """Is the gap between validation and training loss after the last epoch smaller for the final network?

    The training loss is Keras' mean over the epoch, with dropout and augmentation, as in the report's Figure 10: it
    rises with dropout, which alone makes the gap smaller. A baseline without a gap cannot support the claim.
    """
    runs.labels("validation", *claim.names)
    validation = [runs.per_image(name, "validation", "loss") for name in claim.names]
    final, baseline = (
        losses - np.array([[run.history["loss"].iloc[-1]] for run in runs[name]])
        for name, losses in zip(claim.names, validation)
    )
    spread = evaluation.seed_spread("validation", "loss", *validation, annealed=runs.annealed(*claim.names))
    this_run = f"validation - training loss: baseline {baseline.mean():+.2f}, final {final.mean():+.2f}"
    difference = evaluation.paired(baseline, final, spread)
    verdict, (low, high) = judge([difference]), evaluation.mean_interval(baseline, spread)
    shown = f"gap of the baseline - gap of the final network: {_shown(difference, 'loss')}"
    evidence = f"{shown}; dropout 0.65 raises the training loss, and so shrinks the gap"
    if verdict == SUPPORTED and low <= 0:
        evidence = f"{evidence}; the baseline does not overfit here: its gap is {low:+.2f} to {high:+.2f}"
        return Judgement(this_run, OTHERWISE, evidence)
    return Judgement(this_run, verdict, evidence)


def _disgust_never_recognised(claim: Claim, runs: Runs) -> Judgement:
    """Is no image of disgust recognised? Contradicted where they are clearly called it more often than others."""
    (name,), (test_set,), disgust = claim.names, claim.test_sets, CLASSES.index("disgust")
    images = runs.labels(test_set, name) == disgust
    if not images.any():
        return Judgement("no images of disgust", NOT_RUN, "the test set holds no image of disgust")
    called = np.array([run.logits(test_set).argmax(axis=1) == disgust for run in runs[name]])
    recognised = called[:, images].sum(axis=1)
    more = np.where(images, 1 / images.mean(), -1 / (~images).mean()) * called
    low, high = evaluation.mean_interval(more, RECALL_SPREAD)
    return Judgement(
        f"{', '.join(map(str, recognised))} of {images.sum()} images recognised{', by seed' * (len(called) > 1)}",
        SUPPORTED if not recognised.any() else CONTRADICTED if low > 0 else UNDECIDED,
        f"share of disgust called so, minus that of other faces: {more.mean():+.3f} ({low:+.3f} to {high:+.3f})",
    )


def _five_classes_better(claim: Claim, runs: Runs) -> Judgement:
    """Is the final network's recall clearly higher in five classes, or clearly lower in three?"""
    (test_set,), labels = claim.test_sets, runs.labels(*claim.test_sets, *claim.names)
    final, baseline = (runs.per_image(name, test_set, "accuracy") for name in claim.names)
    present = [c for c in range(len(CLASSES)) if np.sum(labels == c) >= 2]
    differences = [evaluation.paired(final[:, labels == c], baseline[:, labels == c], RECALL_SPREAD) for c in present]
    better, worse = clear(differences)
    return Judgement(
        f"more correct in {sum(difference.value > 0 for difference in differences)} of {len(present)} classes",
        SUPPORTED if better >= 5 else CONTRADICTED if worse >= 3 else UNDECIDED,
        f"after Holm's correction {better} clearly better, {worse} clearly worse: "
        + ", ".join(f"{CLASSES[c]} {_shown(d, 'accuracy')}" for c, d in zip(present, differences)),
    )


def _lead_of_fear_and_sad(claim: Claim, runs: Runs) -> Judgement:
    """Does the first network lead, and do fear and sad add more to its lead than all other classes together?"""
    (test_set,), labels = claim.test_sets, runs.labels(*claim.test_sets, *claim.names)
    first, second = (runs.per_image(name, test_set, "accuracy") for name in claim.names)
    those = np.isin(labels, [CLASSES.index("fear"), CLASSES.index("sad")])
    signs = np.where(those, 1, -1)
    more = evaluation.paired(signs * first, signs * second, RECALL_SPREAD)
    lead = comparisons.difference(runs, claim.names, test_set, "accuracy", first, second)
    gains = first.mean(axis=0) - second.mean(axis=0)
    return Judgement(
        f"fear and sad: {gains[those].sum():+.0f} images; the other classes: {gains[~those].sum():+.0f}",
        judge([lead, more]),
        f"lead: {_shown(lead, 'accuracy')}; what fear and sad add to it minus what the others add: "
        f"{_shown(more, 'accuracy')}",
    )


RULES = {
    "accuracy": _ordered,
    "loss": _ordered,
    "easiest": _easiest_distortion,
    "overfits": _overfits,
    "rises later": _rises_later,
    "overfits less": _overfits_less,
    "disgust": _disgust_never_recognised,
    "five classes": _five_classes_better,
    "fear and sad": _lead_of_fear_and_sad,
}
