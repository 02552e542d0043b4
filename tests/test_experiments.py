"""The table of the study, and what makes two experiments the same."""

import dataclasses

import pytest

from ferhelpers import experiments
from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment, Settings


def test_defaults_are_the_reports_protocol():
    settings = Settings()
    baseline = experiments.baselines(settings)["baseline"]
    assert (baseline.blocks, baseline.dropout, baseline.epochs, baseline.batch_size) == (5, 0.3, 100, 64)
    assert (baseline.learning_rate, baseline.decay, baseline.augmentation) == (1e-4, 1e-6, True)
    final = experiments.final_model(settings)["final"]
    assert (final.blocks, final.dropout, final.epochs, final.augmentation) == (2, 0.65, 55, True)
    networks = experiments.efficientnet(settings)
    assert [networks[name].epochs for name in ("efficientnet", "lite_frozen", "lite")] == [20, 20, 20]
    assert not any(e.augmentation for e in experiments.layer_ablation(settings).values())
    assert [e.blocks for e in experiments.layer_ablation(settings).values()] == [1, 2, 3, 4, 5, 5, 5]


def test_the_study_is_eleven_trainings_one_as_listed_one_for_grad_cam_and_two_of_lite():
    assert len(set(experiments.everything(Settings()).values())) == 11 + 2 + 2


def test_readings_are_of_the_report_s_networks_and_the_chosen_ones_are_the_protocol_s():
    readings, protocol = experiments.readings(Settings()), experiments.PROTOCOL
    assert {experiments.network_of(name) for name in readings} == {"final", "blocks_1", "blocks_2"}
    for reading, name in {"final_unit": "final", "blocks_1_full": "blocks_1"}.items():
        assert readings[reading] == protocol[name]
    assert experiments.network_of("dropout_0.5") == "dropout_0.5"
    assert {experiments.network_of(name) for name in ("lite", "lite_frozen")} == {"efficientnet"}


def test_lite_starts_from_imagenet_or_not_at_all():
    networks = experiments.efficientnet(Settings(weights="some.h5"))  # a file of EfficientNetB0
    assert networks["efficientnet"].weights == "some.h5"
    assert [(networks[name].weights, networks[name].frozen) for name in ("lite_frozen", "lite")] == [
        ("imagenet", True),
        ("imagenet", False),
    ]
    assert list(experiments.efficientnet(Settings(weights="none"))) == ["baseline", "final", "efficientnet"]


def test_a_field_that_a_stored_run_lacks_is_at_its_default():
    lite = experiments.efficientnet(Settings())["lite"]
    stored = {name: value for name, value in lite.content().items() if name != "frozen"}
    assert Experiment.network(stored) == Experiment.network(lite.content())
    frozen = dataclasses.replace(lite, frozen=True)
    assert Experiment.network(stored) != Experiment.network(frozen.content())
    assert lite.key("data") != frozen.key("data")


def test_four_blocks_of_04_are_the_30_percent_row_of_05():
    settings = Settings(epochs=3)
    same = experiments.layer_ablation(settings)["blocks_4"], experiments.dropout_ablation(settings)["blocks_4"]
    assert same[0] == same[1] and same[0].key("data") == same[1].key("data")


def test_epochs_scale_with_the_reports():
    settings = Settings(epochs=8)
    assert experiments.final_model(settings)["final"].epochs == 5
    assert experiments.efficientnet(settings)["efficientnet"].epochs == 2
    assert experiments.final_model(Settings(epochs=1))["final"].epochs == 1


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": 4},
        {"dropout": 0.5},
        {"normalisation": False},
        {"width": 0.5},
        {"wiring": "listing"},
        {"wiring": "sequential"},
        {"scale": "byte"},
        {"annealing": "cosine"},
        {"study_epochs": 50},
        {"validation": "by_image"},
        {"augmentation": True},
        {"validation": "test"},
        {"learning_rate": 1e-3},
        {"decay": 0.0},
        {"epochs": 99},
        {"batch_size": 32},
        {"precision": "float32"},
        {"seed": 1},
        {"architecture": "efficientnetb0"},
    ],
)
def test_every_field_is_part_of_the_key(change):
    assert dataclasses.replace(Experiment(), **change).key("data") != Experiment().key("data")
    assert Experiment().key("other data") != Experiment().key("data")


def test_names_of_stored_runs_stay():
    """They would change with a default, or with how the key is made: then `results/convert.py` has to rename them."""
    assert Experiment().key("data").startswith("85da9811b0a1")
    assert (
        Experiment(blocks=2, dropout=0.65, augmentation=True, epochs=55, study_epochs=100)
        .key("data")
        .startswith("4481f64ed1ad")
    )


def test_a_weights_file_counts_by_its_content(tmp_path):
    first, copy = tmp_path / "a.h5", tmp_path / "b.h5"
    first.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    network = Experiment(architecture="efficientnetb0", weights=str(first))
    assert network.key("data") == dataclasses.replace(network, weights=str(copy)).key("data")
    assert str(tmp_path) not in str(network.content())
    copy.write_bytes(b"others")
    assert network.key("data") != dataclasses.replace(network, weights=str(copy)).key("data")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"blocks": 0}, "blocks is 0; it must be 1 to 5"),
        ({"blocks": 6}, "blocks is 6"),
        ({"dropout": 1.0}, "dropout is 1.0; it must be at least 0 and below 1"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"epochs": -1}, "epochs is -1; it must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"width": 0.0}, "width is 0.0"),
        ({"seed": -1}, "seed is -1"),
        ({"precision": "int8"}, "precision is 'int8'; it is one of auto, float32"),
        ({"validation": "none"}, "validation is 'none'"),
        ({"wiring": "listing", "blocks": 4}, "blocks is 4; set blocks to 5"),
        ({"weights": "imagenet"}, "weights start EfficientNet only"),
        ({"architecture": "resnet", "weights": "imagenet"}, "weights start EfficientNet only"),
        ({"architecture": "efficientnetb0", "augmentation": True}, "augmentation is a layer of the CNNs"),
        ({"architecture": "efficientnet_lite0", "frozen": True}, "frozen keeps the ImageNet weights"),
        ({"architecture": "efficientnetb0", "weights": "imagenet", "frozen": True}, "frozen keeps the ImageNet"),
    ],
)
def test_impossible_experiments_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        Experiment(**wrong)


def test_the_longest_trainings_begin():
    names = [name for name, _ in experiments.longest_first(list(experiments.PROTOCOL.items()))]
    assert names[:2] == ["baseline_test_validation", "baseline"] and names.index("blocks_2") > names.index("blocks_3")
    assert names.index("final") > names.index("dropout_0.65")  # a quarter of whose time it takes
    assert Experiment(width=0.5, epochs=8).cost == pytest.approx(2 * Experiment(epochs=1).cost)


def test_settings_come_from_a_notebooks_parameters():
    parameters = {"EPOCHS": 3, "WIDTH": 0.5, "DATA": "auto", "SEED": 2}
    assert Settings.from_parameters(parameters) == Settings(epochs=3, width=0.5, seed=2)
