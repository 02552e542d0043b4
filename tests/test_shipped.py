import os
import sys
from pathlib import Path

import numpy as np
import pytest

from ferhelpers import data, shipped, training
from ferhelpers.experiments import Experiment, Recipe

sys.path.insert(0, str(Path(__file__).parents[1] / "results"))
import ship  # noqa: E402

real = pytest.mark.skipif("FER2013" not in os.environ, reason="FER2013 names no data")


def test_the_weights_are_numbers_of_the_network_that_the_card_names():
    with np.load(shipped.FOLDER / "robust.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert {array.dtype for array in arrays.values()} == {np.dtype("float16")}
    assert (shipped.FOLDER / "robust.npz").stat().st_size <= 10e6
    about = shipped.card()
    moving = sum(array.size for array in shipped.load().non_trainable_variables)
    assert sum(array.size for array in arrays.values()) == about["parameters"] and moving < about["parameters"]
    experiment = Experiment(**about["experiment"] | {"recipe": Recipe(**about["experiment"]["recipe"])})
    assert experiment.architecture == "resnet" and about["run"].startswith(experiment.slug)


@real
@pytest.mark.slow
def test_the_card_holds_what_the_weights_give_on_the_real_data():
    dataset = data.load(os.environ["FER2013"])
    about = shipped.card()
    assert about["data"]["fingerprint"] == dataset.fingerprint
    _, validation = training.training_and_validation(Experiment(), dataset)
    measured = ship.measure(dataset, validation)
    assert measured["temperature"] == pytest.approx(about["temperature"], abs=0.01)
    for name, score in about["scores"].items():
        assert measured["scores"][name]["accuracy"] == pytest.approx(score["accuracy"], abs=0.002), name
        assert measured["scores"][name]["loss"] == pytest.approx(score["loss"], abs=0.005), name
