"""Runs know how they were trained and what tables call them."""

import pytest
from fake_runs import FakeRun

from ferhelpers import tables
from ferhelpers.runs import Runs


def test_networks_are_told_apart_by_their_epochs_where_they_had_no_common_schedule():
    names = ("baseline", "final", "efficientnet", "blocks_2")
    short = Runs({name: [FakeRun(n=100, epochs=1 + (name != "efficientnet"), study_epochs=2)] for name in names})
    assert short.one_schedule(*names) and short.label("final") == "final"
    mixed = Runs({**short, "final": [FakeRun(n=100, epochs=55, study_epochs=100)]})
    assert not mixed.one_schedule(*names) and mixed.one_schedule("baseline", "blocks_2", "not run")
    assert mixed.label("final") == "final, 55 of 55 epochs"
    assert mixed.label("efficientnet") == "EfficientNetB0 (random weights), 1 of 20 epochs"
    assert tables.side_by_side("3", mixed)["blocks"].tolist() == ["1", "2, 2 of 100 epochs", "3", "4", "5"]
    assert tables.overview(mixed).set_index("network").epochs["final, 55 of 55 epochs"] == "55 of 55"


@pytest.mark.parametrize("change", [{"study_epochs": 3}, *({name: 0.5} for name in ("learning_rate", "decay"))])
def test_one_schedule_is_one_share_of_the_epochs_at_one_pace(change):
    assert Runs(a=[FakeRun(epochs=2)], b=[FakeRun(epochs=1, study_epochs=2)]).one_schedule("a", "b")
    assert not Runs(a=[FakeRun(epochs=2)], b=[FakeRun(epochs=2, **change)]).one_schedule("a", "b")


def test_runs_that_followed_the_report_s_schedule():
    reported = FakeRun(epochs=55, study_epochs=100)
    narrow = FakeRun(epochs=55, study_epochs=100, width=0.25)
    runs = Runs(final=[reported, FakeRun(epochs=54), narrow], baseline=[FakeRun(epochs=55)], mine=[FakeRun(epochs=100)])
    assert runs.as_reported() == {"final": [reported], "baseline": [], "mine": []}
    assert runs["another"] == [] and "another" not in runs
