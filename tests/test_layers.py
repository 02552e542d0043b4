"""Fused batch normalisation equals Keras' layer; the augmentation warps once, exactly where it can, in full detail."""

import os

import cv2
import keras
import numpy as np
import pytest
from keras import ops

from ferhelpers import data, distortions
from ferhelpers.layers import BatchNormalization, RandomWarp


def pair(channels=5):
    """Keras' layer and ours with the same, uneven weights."""
    rng = np.random.default_rng(1)
    pair = keras.layers.BatchNormalization(), BatchNormalization()
    weights = [rng.uniform(0.5, 2.0, channels).astype("float32") for _ in range(4)]
    for layer in pair:
        layer.build((None, 6, 6, channels))
        layer.set_weights(weights)
    return pair


@pytest.mark.parametrize("training", [True, False])
def test_fused_normalisation_equals_keras(training):
    images = np.random.default_rng(2).normal(3.0, 2.0, (8, 6, 6, 5)).astype("float32")
    keras_layer, fused = pair()
    np.testing.assert_allclose(
        ops.convert_to_numpy(fused(images, training=training)),
        ops.convert_to_numpy(keras_layer(images, training=training)),
        atol=2e-5,
    )
    for ours, theirs in zip(fused.get_weights(), keras_layer.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses TensorFlow's gradient tape")
def test_fused_normalisation_has_the_same_gradients():
    import tensorflow as tf

    images = tf.constant(np.random.default_rng(3).normal(3.0, 2.0, (8, 6, 6, 5)).astype("float32"))
    target = np.random.default_rng(4).normal(size=(8, 6, 6, 5)).astype("float32")
    gradients = []
    for layer in pair():
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.reduce_sum(layer(images, training=True) * target)
        gradients.append(tape.gradient(loss, [images, layer.gamma.value, layer.beta.value]))
    for theirs, ours in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


def test_fused_normalisation_in_bfloat16_keeps_float32_statistics():
    images = np.random.default_rng(5).normal(3.0, 2.0, (64, 6, 6, 5)).astype("float32")
    layer = BatchNormalization(dtype="mixed_bfloat16")
    outputs = layer(images, training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
    rounded = ops.convert_to_numpy(ops.cast(ops.cast(images, "bfloat16"), "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_mean), 0.01 * rounded.mean((0, 1, 2)), rtol=1e-3)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.moving_variance), 0.99 + 0.01 * rounded.var((0, 1, 2)), rtol=1e-3
    )


def test_weights_of_keras_layer_load_into_ours(tmp_path):
    def network(normalisation):
        inputs = keras.Input((6, 6, 2))
        return keras.Model(inputs, normalisation(name="norm")(inputs))

    source, target = network(keras.layers.BatchNormalization), network(BatchNormalization)
    source.set_weights([np.arange(2, dtype="float32") + i for i in range(4)])
    source.save_weights(tmp_path / "norm.weights.h5")
    target.load_weights(tmp_path / "norm.weights.h5")
    for ours, theirs in zip(target.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def warp(images, **arguments):
    layer = RandomWarp(seed=0, **arguments)
    return ops.convert_to_numpy(layer(images[..., None].astype("float32"), training=True))[..., 0]


def noise(count=40):
    return np.random.default_rng(6).integers(0, 256, (count, 48, 48)).astype("uint8")


def test_warp_is_the_identity_at_inference():
    images = noise()[..., None].astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(RandomWarp()(images, training=False)), images)


def test_flips_are_exact_and_half_of_the_images():
    images = noise(400)
    warped = np.round(warp(images, rotation=0.0, shift=0.0))
    same, mirrored = ((warped == other).all((1, 2)) for other in (images, images[:, :, ::-1]))
    assert (same ^ mirrored).all()
    assert 140 < mirrored.sum() < 260


def test_rotation_is_that_of_opencv():
    y, x = np.mgrid[:48, :48]
    smooth = (127 + 60 * np.sin(x / 6.0) + 60 * np.cos(y / 7.0)).astype("uint8")
    layer = RandomWarp(rotation=10.0, shift=0.0, flip=False, seed=3)
    warped = ops.convert_to_numpy(layer(np.repeat(smooth[None, ..., None], 64, 0).astype("float32"), training=True))
    angles = np.arange(-10.0, 10.01, 0.1)
    turned = [
        cv2.warpAffine(smooth, cv2.getRotationMatrix2D((23.5, 23.5), a, 1.0), (48, 48), flags=cv2.INTER_CUBIC)
        for a in angles
    ]
    inside = (slice(12, 36), slice(12, 36))
    errors = np.array([[np.abs(w[..., 0][inside] - t[inside]).mean() for t in turned] for w in warped])
    assert errors.min(axis=1).max() < 3.0  # of 255: each image is the original turned by some angle up to 10 degrees
    nearest = angles[errors.argmin(axis=1)]
    assert nearest.min() < -7 and nearest.max() > 7


def test_shifts_reach_a_tenth_and_repeat_the_border():
    images = np.repeat(np.arange(48, dtype="uint8")[None, None], 48, 1).repeat(200, 0)  # pixel value = column
    warped = warp(images, rotation=0.0, flip=False)
    shift = warped[:, 24, 24] - 24
    assert 4.0 < shift.max() <= 5.2 and -5.2 <= shift.min() < -4.0
    far = warped[shift.argmax()]
    np.testing.assert_allclose(far[:, -3:], 47, atol=0.6)


@pytest.mark.skipif("FER2013" not in os.environ, reason="FER2013 does not name the data")
def test_augmented_real_images_are_nearly_as_sharp():
    images = data.load().public.images[:600]
    warped = np.round(warp(images)).astype("uint8")
    ratio = distortions.sharpness(warped).mean() / distortions.sharpness(images).mean()
    assert 0.88 < ratio < 1.05
