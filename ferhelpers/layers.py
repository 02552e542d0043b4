"""Layers that Keras lacks: fused batch normalisation off the GPU, and an augmentation that warps once."""

from __future__ import annotations

import math

import cv2
import keras
import numpy as np
from keras import ops

from ferhelpers import backend


@keras.saving.register_keras_serializable(package="ferhelpers")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the last axis of images, in one fused kernel where the backend has one.

    It has Keras' name, too: saved weights are found by it.

    Keras' own layer computes in float32 with several passes over memory, also under mixed precision; on a CPU that
    costs as much as the convolutions. Outputs, gradients, moving statistics and saved weights are those of Keras'
    layer (see tests/test_layers.py); on JAX it is Keras' layer.
    """

    def call(self, inputs, training=None, mask=None) -> keras.KerasTensor:
        training = bool(training) and self.trainable
        fused = backend.fused_batch_normalisation(
            inputs, self.gamma, self.beta, self.moving_mean, self.moving_variance, self.epsilon, training
        )
        if fused is None:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = fused
        if training:
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
        return outputs


@keras.saving.register_keras_serializable(package="ferhelpers")
class RandomWarp(keras.layers.Layer):
    """Random rotation, shift and horizontal flip in a single resampling, nearest fill; identity at inference.

    The defaults are the report's (section 5.2): up to 10 degrees, up to 0.1 of width and height, flips. Bilinear
    resampling halves the energy of fine detail, and a network trained on smoothed images fails on sharp test images
    (notebook 03 shows it). So images are first enlarged threefold with a Lanczos filter (two
    matrix products) and then sampled at the nearest point: flips and whole-pixel shifts are exact, and detail is kept
    to about nine tenths.

    Args:
        rotation: largest angle, degrees.
        shift: largest shift, share of the side.
        flip: whether to mirror half of the images.
        seed: integer seed of its random numbers.

    Call: float (N, S, S, 1), 0..255 -> the same shape and range.
    """

    ENLARGE = 3  # odd, so that the grid of the enlarged image holds the original pixels

    def __init__(self, rotation=10.0, shift=0.1, flip=True, seed=None, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.rotation, self.shift, self.flip, self.seed = rotation, shift, flip, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False) -> keras.KerasTensor:
        return self._warp(images) if training else images

    def _warp(self, images):
        count, side = ops.shape(images)[0], images.shape[1]

        def draw(limit):
            return keras.random.uniform((count, 1), -limit, limit, seed=self.seed_generator)

        angle = draw(math.radians(self.rotation))
        shift_x, shift_y = draw(self.shift * side), draw(self.shift * side)
        mirror = ops.where(draw(1.0) < 0.0, -1.0, 1.0) if self.flip else 1.0

        centre = (side - 1) / 2
        rows, columns = np.divmod(np.arange(side * side, dtype="float32"), side) - np.float32(centre)
        x, y = (columns + shift_x) * mirror, rows + shift_y
        source_x = ops.cos(angle) * x - ops.sin(angle) * y + centre
        source_y = ops.sin(angle) * x + ops.cos(angle) * y + centre

        # The identity, enlarged, is the matrix that enlarges: rows of Lanczos weights.
        enlarged_side = self.ENLARGE * side
        enlarge = cv2.resize(np.eye(side, dtype="float32"), (side, enlarged_side), interpolation=cv2.INTER_LANCZOS4)
        enlarged = ops.matmul(ops.matmul(enlarge, images[..., 0]), enlarge.T)

        def index(position):
            position = ops.round(self.ENLARGE * (position + 0.5) - 0.5)
            return ops.clip(ops.cast(position, "int32"), 0, enlarged_side - 1)

        sampled = ops.take_along_axis(
            ops.reshape(enlarged, (-1, enlarged_side**2)), index(source_y) * enlarged_side + index(source_x), axis=1
        )
        return ops.clip(ops.reshape(sampled, (-1, side, side, 1)), 0.0, 255.0)

    def compute_output_shape(self, input_shape) -> tuple:
        return input_shape

    def get_config(self) -> dict:
        config = {"rotation": self.rotation, "shift": self.shift, "flip": self.flip, "seed": self.seed}
        return {**super().get_config(), **config}
