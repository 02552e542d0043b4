"""A run without a network: logits with known answers, for the tests of evaluation, tables and claims."""

from functools import cached_property

import numpy as np
import pandas as pd

from ferhelpers import distortions, evaluation
from ferhelpers.experiments import Experiment

TEST_SETS = (
    "clean",
    "private",
    "sections",
    *distortions.NAMES,
    "validation",
    *(f"noise/{name}" for name in distortions.NOISE_READINGS),
)


def logits_for(labels, recognised, confidence=2.0, wrong=1):
    """Logits whose prediction is right where `recognised`, else the class `wrong` places on.

    `confidence` is the logit of the predicted class; the six others are 0.
    """
    logits = np.zeros((len(labels), 7), np.float32)
    logits[np.arange(len(labels)), (labels + np.where(recognised, 0, wrong)) % 7] = confidence
    return logits


class FakeRun:
    """What tables and claims use of a `runs.Run`, made from an accuracy and a confidence for each test set.

    Images are recognised in order of their difficulty, the same for every run, so that two runs differ exactly on
    the images between their accuracies. `swap` draws the difficulties anew for this run. `experiment` are the fields of
    its content that are not an Experiment's defaults.
    """

    views = False

    def __init__(
        self, accuracy=0.5, confidence=2.0, n=1000, per_set=None, history=None, swap=None, weights="none", **experiment
    ):
        rng = np.random.default_rng(7)
        self._labels = rng.integers(0, 7, n).astype(np.uint8)
        difficulty = (np.random.default_rng(swap) if swap else rng).permutation(n) / n
        self._logits = {}
        for name in dict.fromkeys((*TEST_SETS, *(per_set or {}))):
            share, sure = (per_set or {}).get(name, (accuracy, confidence))
            self._logits[name] = logits_for(self._labels, difficulty < share, sure)
        self.history = pd.DataFrame(history) if history is not None else None
        content = Experiment(**{"epochs": 1, **experiment}).content()
        self.config = {"experiment": {**content, "weights": weights}, "data": {"form": "csv"}}

    @cached_property
    def metrics(self):
        return evaluation.scores(self)

    def logits(self, test_set):
        return self._logits[test_set]

    def labels(self, test_set):
        return self._labels


def seeds(accuracy=0.5, confidence=2.0, per_set=None, **options):
    """Three trainings of one network, whose accuracies on every test set lie 0.005 apart."""
    return [
        FakeRun(
            accuracy + shift,
            confidence,
            per_set={name: (share + shift, sure) for name, (share, sure) in (per_set or {}).items()},
            **options,
        )
        for shift in (-0.005, 0.0, 0.005)
    ]
