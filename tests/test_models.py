"""The networks are the report's, layer by layer; weights come from where they are said to."""

import hashlib

import h5py
import keras
import numpy as np
import pytest
from keras.src.applications import efficientnet
from keras.src.legacy.saving import legacy_h5_format

from ferhelpers import models
from ferhelpers.errors import InputError


def parameters(channels, blocks, unused=(), side=48, inputs=1):
    """Trainable parameters of the CNN, by hand: convolutions with bias, gamma and beta where used, the dense layer."""
    total = 0
    for block, (filters, convolutions) in enumerate(channels[:blocks], start=1):
        for convolution in range(1, convolutions + 1):
            total += 9 * inputs * filters + filters + 2 * filters * ((block, convolution) not in unused)
            inputs = filters
        side //= 2
    return total + side * side * inputs * 7 + 7


@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("wiring", "unused"), [("tutorial", [(2, 3), (5, 4)]), ("sequential", [])])
def test_cnn_has_the_parameters_of_the_report(blocks, wiring, unused):
    model = models.build_cnn(blocks, wiring=wiring)
    trainable = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert trainable == parameters([(64, 2), (128, 3), (256, 4), (256, 4), (512, 4)], blocks, unused)


def test_five_blocks_have_as_many_parameters_as_the_tutorial_prints():
    assert models.build_cnn(5).count_params() == 13_111_367
    assert models.build_cnn(5, wiring="sequential").count_params() == 13_113_927


def test_cnn_layers_are_named_and_ordered_as_in_the_tutorial():
    names = [layer.name for layer in models.build_cnn(2, dropout=0.65).layers]
    assert names == [
        "input",
        "rescaling",
        "conv1_1",
        "norm1_1",
        "conv1_2",
        "norm1_2",
        "pool1_1",
        "drop1_1",
        "conv2_1",
        "norm2_1",
        "conv2_2",
        "norm2_2",
        "conv2_3",
        "pool2_1",
        "drop2_1",
        "flatten",
        "output",
    ]
    assert models.build_cnn(2, dropout=0.65).get_layer("drop2_1").rate == 0.65
    assert models.build_cnn(5).get_layer("conv5_4").filters == 512


def test_scale_divides_the_pixels_by_255_or_leaves_them():
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1)).astype("float32")
    unit, byte = (models.build_cnn(1, width=0.125, scale=scale) for scale in ("unit", "byte"))
    byte.set_weights(unit.get_weights())
    np.testing.assert_allclose(
        unit.predict(images, verbose=0), byte.predict(images / 255, verbose=0), rtol=1e-4, atol=1e-6
    )


def test_options_change_what_they_name():
    plain = [layer.name for layer in models.build_cnn(5, normalisation=False).layers]
    assert not any(name.startswith("norm") for name in plain) and sum(n.startswith("conv") for n in plain) == 17
    assert models.build_cnn(1, width=0.125).get_layer("conv1_1").filters == 8
    assert models.build_cnn(1, augmentation=True, scale="byte").layers[1].name == "augmentation"


def test_listing_feeds_block_5_from_block_3():
    model = models.build_cnn(5, wiring="listing", width=0.125)
    assert not any(layer.name.startswith("conv4") for layer in model.layers)
    assert model.get_layer("conv5_1").input is model.get_layer("drop3_1").output


@pytest.mark.parametrize("augmentation", [False, True])
def test_saved_cnn_is_the_same_network(tmp_path, augmentation):
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1)).astype("uint8")
    model = models.build_cnn(2, width=0.125, augmentation=augmentation)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-4)


@pytest.mark.slow
def test_efficientnet_is_flat_and_repeats_the_grey_channel():
    model = models.build_efficientnet("none")
    assert model.input_shape == (None, 48, 48, 1) and model.output_shape == (None, 7)
    assert not any(isinstance(layer, keras.Model) for layer in model.layers)
    assert model.get_layer("grey_to_rgb").output.shape == (None, 48, 48, 3)
    backbone = keras.applications.EfficientNetB0(include_top=False, weights=None, pooling="avg")
    assert model.count_params() == backbone.count_params() + 1280 * 7 + 7


def saved_backbone(path):
    backbone = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(48, 48, 3))
    backbone.save_weights(path)
    return backbone


@pytest.mark.slow
def test_efficientnet_takes_a_local_weights_file(tmp_path):
    backbone = saved_backbone(tmp_path / "backbone.weights.h5")
    model = models.build_efficientnet(str(tmp_path / "backbone.weights.h5"))
    np.testing.assert_array_equal(
        model.get_layer("block4a_dwconv").get_weights()[0], backbone.get_layer("block4a_dwconv").get_weights()[0]
    )


@pytest.mark.slow
def test_imagenet_file_gives_the_network_that_keras_downloads(tmp_path, monkeypatch):
    """With a made-up file in the place of the published one: found by its MD5, and built with Keras' scaling."""
    assert efficientnet.WEIGHTS_HASHES["b0"][1] == models.IMAGENET_MD5
    backbone = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(48, 48, 3))
    path = tmp_path / "made.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, backbone)
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(models, "IMAGENET_MD5", md5)
    monkeypatch.setitem(efficientnet.WEIGHTS_HASHES, "b0", ("", md5))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path / "home"))
    model = models.build_efficientnet(str(path))
    rescalings = [layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling)]
    assert len(rescalings) == 2  # 1/255, and the correction that Keras adds for its ImageNet weights only


def test_imagenet_without_network_says_how_to_go_on(monkeypatch):
    def no_network(*arguments, **options):
        raise Exception("URL fetch failure on https://storage...: no route")

    monkeypatch.setattr(keras.utils, "get_file", no_network)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", no_network)
    with pytest.raises(InputError, match="could not be downloaded.*pass its path as WEIGHTS"):
        models.build_efficientnet("imagenet")


@pytest.mark.filterwarnings("ignore:Skipping nested container")
@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"not weights", "cnn"])
def test_wrong_weights_file_is_named(tmp_path, content):
    path = tmp_path / "wrong.weights.h5"
    if content == "cnn":
        models.build_cnn(1, width=0.125).save_weights(path)
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match="wrong.weights.h5 does not hold the weights of EfficientNetB0"):
        models.build_efficientnet(str(path))


def test_missing_weights_file_is_named():
    with pytest.raises(InputError, match="names no file: nowhere.h5"):
        models.build_efficientnet("nowhere.h5")
