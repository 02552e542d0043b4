"""The published numbers are whole, and hold together."""

import pandas as pd
import pytest

from ferhelpers.errors import InputError
from ferhelpers.published import NETWORKS, TEST_SETS, published, published_confusions
from ferhelpers.published import test_set as name_of_test_set  # under its own name pytest would take it for a test

ROWS = {"6.1.2": 1, "6.1.3": 1, "1": 6, "2": 6} | {str(t): 5 for t in range(3, 9)} | {str(t): 3 for t in range(9, 21)}


def test_every_table_is_there_and_nothing_else():
    frame = published()
    assert {table: len(published(table)) for table in ROWS} == ROWS and len(frame) == sum(ROWS.values()) == 80
    assert frame["accuracy"].between(0.1, 0.7).all() and frame["loss"].between(1, 20).all()
    assert not frame.isna().any(axis=None)
    assert set(frame["experiment"]) <= set(NETWORKS)
    assert set(frame["test_set"]) == {*TEST_SETS, "distorted_overall"}


def test_unknown_table_is_named():
    with pytest.raises(InputError, match="'21'"):
        published("21")


def test_published_cannot_be_spoilt_by_its_reader():
    frame = published()
    frame["accuracy"] = 0
    assert published()["accuracy"].min() > 0.1


def test_tables_3_to_20_have_one_test_set_each():
    sets = ["clean", "gaussian blur", "gaussian noise", "salt pepper", "speckle", "occlusion"]
    assert [name_of_test_set(str(table)) for table in range(3, 21)] == sets * 3


@pytest.mark.parametrize("blocks, dropout", [(str(t), str(t + 6)) for t in range(3, 9)])
def test_four_blocks_are_the_thirty_percent_row(blocks, dropout):
    four = published(blocks).set_index("level").loc["4"]
    thirty = published(dropout).set_index("level").loc["0.3"]
    assert four[["test_set", "accuracy", "loss"]].tolist() == thirty[["test_set", "accuracy", "loss"]].tolist()


def test_the_baseline_of_the_last_tables_is_the_one_with_separate_validation():
    earlier = pd.concat([published("6.1.3"), published("2")]).set_index("test_set")
    for table in range(15, 21):
        line = published(str(table)).set_index("level").loc["baseline"]
        assert earlier.loc[line["test_set"], ["accuracy", "loss"]].tolist() == line[["accuracy", "loss"]].tolist()


def test_published_confusions_are_three_matrices_of_the_same_images():
    matrices = published_confusions()
    assert list(matrices) == ["baseline_test_validation", "baseline", "final"]
    for matrix in matrices.values():
        assert matrix.shape == (7, 7) and matrix.sum() == 3589
        assert matrix.sum(axis=1).tolist() == [511, 49, 516, 903, 597, 381, 632]
