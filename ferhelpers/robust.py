"""Training that withstands distortion: the images of an epoch, the optimiser and the loss of an experiments.Recipe."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import keras
import numpy as np
from keras import ops

from ferhelpers import distortions, unseen
from ferhelpers.data import CLASSES, IMAGE_SIZE, Dataset, Split
from ferhelpers.experiments import Recipe

# General distortions: what they do to an image, at random severities that reach beyond the textbook's. The name of each
# is that of the report's distortion whose family it belongs to.


def _blur(images, rng):
    sigmas = rng.uniform(0.4, 1.8, len(images))
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image, sigma in zip(images, sigmas, strict=True)])


def _noise(images, rng):
    return distortions.to_uint8(images + _each(rng, 0, 31, images) * distortions.normal(images, rng))


def _speckle(images, rng):
    return distortions.to_uint8(images * (1 + _each(rng, 0.05, 0.6, images) * distortions.normal(images, rng)))


def _black_and_white(images, rng):
    hit = rng.random(images.shape, "float32") < _each(rng, 0.02, 0.42, images)
    return np.where(hit, 255 * rng.integers(0, 2, images.shape, "uint8"), images)


def _any_value(images, rng):
    hit = rng.random(images.shape, "float32") < _each(rng, 0.05, 0.4, images)
    return np.where(hit, rng.integers(0, 256, images.shape, "uint8"), images)


def _square(images, rng):
    out = images.copy()
    for image in out:
        side = rng.integers(8, 27)
        top, left = rng.integers(-side // 3, IMAGE_SIZE - 2 * side // 3, 2)
        shade = 0 if rng.random() < 0.5 else rng.integers(0, 256)
        image[max(top, 0) : top + side, max(left, 0) : left + side] = shade
    return out


def _each(rng, low, high, images):
    """One number an image."""
    return rng.uniform(low, high, (len(images), 1, 1)).astype("float32")


# (family, function, share of the distorted images)
GENERAL = (
    ("gaussian_blur", _blur, 0.14),
    ("gaussian_noise", _noise, 0.11),
    ("salt_pepper", _black_and_white, 0.28),
    ("salt_pepper", _any_value, 0.17),
    ("speckle", _speckle, 0.14),
    ("occlusion", _square, 0.16),
)


def diet(name: str) -> list[tuple]:
    """(function of images and generator, share of the distorted images) of one of experiments.DIETS."""
    general = [(distort, share) for family, distort, share in GENERAL if name != f"without_{family}"]
    if name != "report":
        return general
    literal = [functools.partial(distort, constant=None) for distort in distortions.DISTORTIONS.values()]
    return [(distort, share / 2) for distort, share in general] + [(distort, 0.1) for distort in literal]


def training_images(images: np.ndarray, recipe: Recipe, seed: tuple[int, ...]) -> np.ndarray:
    """The training images of one epoch: each moved, lit and, by the recipe's diet, distorted anew.

    Args:
        images: uint8 (N, 48, 48), 0..255. Not changed.
        seed: integers from 0; the same seed gives the same bytes.

    Returns:
        uint8 (N, 48, 48), in the order of the input.
    """
    functions, shares = zip(*diet(recipe.diet), strict=True)
    shares = recipe.distorted * np.array(shares)

    def chunk(start):
        rng = np.random.default_rng([*seed, start])
        out = _moved(images[start : start + distortions.CHUNK], recipe, rng)
        kinds = rng.choice(len(shares) + 1, len(out), p=[*shares, 1 - sum(shares)])
        for kind, distort in enumerate(functions):
            chosen = kinds == kind
            if chosen.any():
                out[chosen] = distort(out[chosen], rng)
        return out

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.concatenate(list(pool.map(chunk, range(0, len(images), distortions.CHUNK))))


def _moved(images, recipe, rng):
    """Rotated, shifted, stretched, mirrored, and brighter or darker; edges repeat their last pixel."""
    out = np.empty_like(images)
    centre = (IMAGE_SIZE - 1) / 2
    for number, image in enumerate(images):
        angle, x, y, scale = rng.uniform(-1, 1, 4) * (
            recipe.rotation, recipe.shift * IMAGE_SIZE, recipe.shift * IMAGE_SIZE, recipe.stretch
        )  # fmt: skip
        matrix = cv2.getRotationMatrix2D((centre, centre), angle, 1 + scale)
        matrix[:, 2] += x, y
        cv2.warpAffine(
            image[:, ::-1] if rng.random() < 0.5 else image,
            matrix,
            (IMAGE_SIZE, IMAGE_SIZE),
            dst=out[number],
            flags=cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
    contrast, brightness = _each(rng, 1 - recipe.light, 1 + recipe.light, images), 255 * recipe.light
    return distortions.to_uint8((out - 128.0) * contrast + 128 + _each(rng, -brightness, brightness, images))


def views(images: np.ndarray) -> list[np.ndarray]:
    """Four views of each image, over which logits are averaged: moved 2 pixels up, down, left and right, two mirrored.

    Chosen on validation images, where they give better answers than the image and its mirror image.

    Args:
        images: uint8 (N, 48, 48).

    Returns:
        four of uint8 (N, 48, 48); edges repeat their last pixel. They share their memory.
    """
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)), "edge")
    up, down, left, right = (
        padded[:, y : y + IMAGE_SIZE, x : x + IMAGE_SIZE] for y, x in ((4, 2), (0, 2), (2, 4), (2, 0))
    )
    return [up, down[:, :, ::-1], left, right[:, :, ::-1]]


def test_sets(dataset: Dataset, validation: Split) -> dict[str, Split]:
    """What a robust network is tested on beside distortions.test_sets.

    Returns:
        dict: "private/<distortion>", the report's form on the private split; "<distortion>/<severity>", the textbook's
        on the public one; "unseen/<name>", those of `unseen` on the public one; and "validation/distorted", the
        validation images, half of them with general distortions, for its temperature.
    """
    public, private = dataset.public, dataset.private
    still = Recipe("general", distorted=0.5, rotation=0, shift=0, stretch=0, light=0)
    sets = {f"private/{name}": (private, distortions.apply(name, private.images)) for name in distortions.NAMES}
    for name in distortions.NAMES:
        for severity in distortions.SEVERITIES:
            distorted = distortions.apply(name, public.images, form="textbook", severity=severity)
            sets[f"{name}/{severity}"] = public, distorted
    sets |= {f"unseen/{name}": (public, unseen.apply(name, public.images)) for name in unseen.UNSEEN}
    sets["validation/distorted"] = validation, training_images(validation.images, still, (0,))
    return {name: replace(split, images=images) for name, (split, images) in sets.items()}


def optimiser(recipe: Recipe, rate) -> keras.optimizers.Optimizer:
    """SGD with Nesterov momentum; weights decay, biases and the normalisation's factors do not."""
    sgd = keras.optimizers.SGD(rate, recipe.momentum, nesterov=True, weight_decay=recipe.weight_decay)
    sgd.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return sgd


def loss(recipe: Recipe) -> Callable:
    """Cross-entropy of logits (N, 7) with smoothed labels: function of integer labels (N,) and logits."""

    def smoothed(labels, logits):
        targets = ops.one_hot(ops.reshape(labels, (-1,)), len(CLASSES))
        return keras.losses.categorical_crossentropy(
            targets, logits, from_logits=True, label_smoothing=recipe.smoothing
        )

    return smoothed
