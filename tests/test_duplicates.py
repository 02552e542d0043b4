"""Copies are found wherever they are, and a test accuracy is shown without those that were trained on."""

import os

import fake_runs
import numpy as np
import pytest

from ferhelpers import data, duplicates, tables
from ferhelpers.data import Dataset, Split
from ferhelpers.runs import Runs


@pytest.fixture
def copies():
    """Pictures 0..9; the numbers are what is in each split, with labels."""
    pictures = np.random.default_rng(0).integers(0, 256, (10, 48, 48)).astype("uint8")
    pictures[9] = 7  # blank

    def split(numbers, labels):
        return Split(pictures[list(numbers)], np.array(labels, "uint8"))

    return Dataset(
        split([0, 1, 1, 2, 9], [0, 1, 1, 2, 3]), split([1, 3, 3, 3], [1, 4, 4, 5]), split([2, 5], [6, 0]), {}
    )


def test_summary_counts_copies_contradictions_and_blanks(copies):
    frame = duplicates.summary(duplicates.find(copies))
    others = ["also in training", "also in public", "also in private"]
    assert frame.columns.tolist() == ["images", "repeated in it", *others, "with several labels", "blank"]
    assert frame.loc["training"].tolist() == [5, 1, "–", 2, 1, 1, 1]
    assert frame.loc["public"].tolist() == [4, 2, 1, "–", 0, 3, 0]
    assert frame.loc["private", "also in training"] == 1 and frame.loc["private", "with several labels"] == 1


def test_accuracy_without_the_images_that_were_trained_on(copies):
    class Run(fake_runs.FakeRun):
        def labels(self, test_set):
            return {"clean": copies.public, "private": copies.private}[test_set].labels

        def logits(self, test_set):  # it knows what it has seen, and one of the others
            hits = {"clean": [True, True, False, False], "private": [True, False]}[test_set]
            return fake_runs.logits_for(self.labels(test_set), np.array(hits))

    frame = tables.accuracy_without(Runs(final=[Run()], baseline=[]), copies)
    clean, private, *missing = frame.to_dict("records")
    assert [row["accuracy"] for row in missing] == ["not run"] * 2
    assert clean["accuracy"] == 0.5 and clean["images that training lacks"] == 3
    assert clean["accuracy on these"] == pytest.approx(1 / 3) and clean["difference"] == pytest.approx(-1 / 6)
    assert clean["accuracy on the others"] == 1 and private["accuracy on the others"] == 1
    assert private["accuracy on these"] == 0 and private["images that training lacks"] == 1


@pytest.mark.skipif("FER2013" not in os.environ, reason="FER2013 names no data")
def test_fer_2013_has_copies_across_its_splits():
    frame = duplicates.summary(duplicates.find(data.load(os.environ["FER2013"])))
    assert list(frame["images"]) == [28709, 3589, 3589]
    assert frame.loc["public", "also in training"] > 0 and frame.loc["private", "also in training"] > 0
    assert (frame["with several labels"] > 0).all() and frame.loc["training", "blank"] > 0
