import os

import numpy as np
import pytest

from ferhelpers import data, distortions, duplicates, evaluation, shipped, training

real = pytest.mark.skipif("FER2013" not in os.environ, reason="FER2013 names no data")


def test_the_weights_are_numbers_of_the_network_that_the_card_names():
    with np.load(shipped.FOLDER / "robust.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert {array.dtype for array in arrays.values()} == {np.dtype("float16")}
    assert (shipped.FOLDER / "robust.npz").stat().st_size <= 10e6
    about = shipped.card()
    assert sum(array.size for array in arrays.values()) == about["parameters"]
    experiment = shipped.experiment()
    assert experiment.architecture == "resnet"
    assert about["run"] == f"{experiment.slug}-{experiment.key(about['data']['fingerprint'])[:12]}"


@real
@pytest.mark.slow
def test_the_card_holds_what_the_weights_give_on_the_real_data():
    dataset = data.load(os.environ["FER2013"])
    about = shipped.card()
    assert about["data"]["fingerprint"] == dataset.fingerprint
    model, sets = shipped.load(), distortions.test_sets(dataset)
    copied = duplicates.in_training(duplicates.find(dataset), "public")
    sets |= {"clean/new": sets["clean"].take(np.flatnonzero(~copied)), "clean/one view": sets["clean"]}
    assert copied.sum() == 280
    for name in ("clean", "clean/one view", "clean/new", "private", "speckle", "occlusion"):
        logits = training.predict(model, sets[name].images, views=name != "clean/one view")
        score = about["scores"][name]
        assert evaluation.accuracy(logits, sets[name].labels) == pytest.approx(score["accuracy"], abs=0.001), name
        assert evaluation.cross_entropy(logits, sets[name].labels) == pytest.approx(score["loss"], abs=0.002), name
