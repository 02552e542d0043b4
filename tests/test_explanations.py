"""Stored heat maps as numbers: how alike they are, and how much of their heat lies in the blacked-out quarter."""

import numpy as np
import pytest
from fake_runs import FakeRun
from scipy import stats

from ferhelpers import distortions, explanations
from ferhelpers.runs import Runs


class Stored(FakeRun):
    """A run with a map of each of the first faces, by test set."""

    layers = ["conv"]

    def __init__(self, clean, occlusion=None):
        super().__init__()
        self.chosen, self._maps = np.arange(len(clean)), {"clean": clean, "occlusion": occlusion}

    def heatmaps(self, layer, test_set="clean"):
        return np.asarray(self._maps[test_set], np.float32)


def test_likeness_is_the_mean_correlation_of_the_maps_of_two_faces():
    ramp = np.arange(9.0).reshape(3, 3) / 8
    of_pairs = np.stack([ramp, ramp, 1 - ramp])  # correlations 1, -1, -1
    runs = Runs(blocks_5=[Stored(of_pairs)], blocks_1=[Stored(np.zeros((3, 3, 3)))], blocks_2=[])
    runs["blocks_1"][0].layers = ["conv", "deep"]
    table = explanations.likeness(runs)
    assert table.loc["conv"].to_dict() == {"5 blocks": "-0.33", "1 block": "no heat"}
    assert table.loc["deep"].to_dict() == {"5 blocks": "no such layer", "1 block": "no heat"}
    assert set(explanations.likeness(Runs(blocks_2=[])).result) == {"not run"}


def test_heat_in_the_black_quarter_beside_the_heat_there_before(faces):
    """Of four faces one has no heat at all; in the others a known share of the heat goes to the black quarter."""
    occluded = distortions.test_sets(faces)["occlusion"].images[:4].reshape(4, 2, 24, 2, 24)
    black = (occluded == 0).all(axis=(2, 4)).repeat(24, axis=1).repeat(24, axis=2)

    def maps(*shares):
        return np.stack([share * quarter + (1 - share) / 3 * ~quarter for share, quarter in zip(shares, black)])

    run = Stored(maps(0.25, 0.2, 0.3, 0.25), maps(0.5, 0.6, 0.7, 0.0) * np.array([1, 1, 1, 0])[:, None, None])
    (row,) = explanations.black_quarter(Runs(baseline=[run]), "conv").to_dict("records")
    difference = stats.ttest_rel([0.5, 0.6, 0.7], [0.25, 0.2, 0.3])
    low, high = difference.confidence_interval()
    assert (row["network"], row["faces"]) == ("baseline", 3)
    assert (row["low"], row["high"]) == (pytest.approx(low), pytest.approx(high))
    assert row["heat in the black quarter"] == pytest.approx(0.6) and row["difference"] == pytest.approx(0.35)
    assert row["in that quarter of the whole face"] == pytest.approx(0.25)
    assert set(explanations.black_quarter(Runs(baseline=[]), "conv").result) == {"not run"}
