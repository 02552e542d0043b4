"""Grad-CAM: where in the image a convolution layer found the evidence for a class.

    maps = heatmaps(model, images)                  # {"conv1_1": (N, 48, 48), ..., "conv5_4": (N, 3, 3)}
    overlay(images, resize(maps["conv5_4"]))        # (N, 48, 48, 3), to look at

Source: Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization";
report, sections 6.1.2 and 8.
"""

from __future__ import annotations

import cv2
import keras
import matplotlib
import numpy as np
from keras import ops

from ferhelpers import backend
from ferhelpers.data import IMAGE_SIZE
from ferhelpers.errors import InputError

BATCH = 16  # images at a time: the fastest of 4..32 on two CPU cores, and the 17 maps of 16 images need 60 MB
COLOURS = "plasma"  # from violet (some heat) to yellow (most), told apart by colour-blind readers too
DIM, OPACITY = 0.6, 0.9  # in an overlay: brightness of the face, so that heat shows on it; cover of the hottest pixel


def conv_layers(model: keras.Model) -> list[str]:
    """Name the layers that `heatmaps` explains by default, from input to output.

    Args:
        model: as for `heatmaps`.

    Returns:
        Every 2-D convolution, separable and depthwise ones too, whose output has more than one position
        (EfficientNet's squeeze-and-excitation convolutions see a single pixel, which has no map).
    """
    kinds = (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D)
    return [
        name for name, layer in _layers(model).items() if isinstance(layer, kinds) and layer.output.shape[1:3] != (1, 1)
    ]


def heatmaps(
    model: keras.Model,
    images: np.ndarray,
    layers: str | list[str] | None = None,
    classes: int | list[int] | np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Compute the Grad-CAM maps of one, several or all convolution layers, a batch of images at a time.

    The map of a layer is relu(sum_k w_k A_k): A_k are its activation maps, w_k the mean gradient of the class logit by
    A_k. All layers share one forward and one backward pass: the network is rebuilt over the same layers with a zero
    added after each chosen layer, and the logit is differentiated by these zeros. This runs eagerly: compiling it
    halves the time of a batch, but costs as much as two batches before the first.

    Args:
        model: keras.Model, functional or sequential, models inside it too; one input (H, W, channels), one output, the
            logits (classes,); any precision, any backend.
        images: (N, H, W), or (N, H, W, channels); grey ones are repeated for a model that wants more channels.
        layers: name or names of layers with a (height, width, channels) output; None: `conv_layers(model)`.
        classes: int or ints (N,), the class to explain in each image; None: the class that the network predicts.

    Returns:
        dict, layer name -> float32 (N, h, w) at the layer's own resolution, each map divided by its maximum: 0..1,
        all zero where nothing speaks for the class.

    Raises:
        InputError: the model is subclassed, has several inputs or outputs, or two layers of one name; a layer is
        unknown or has no 2-D output; images or classes do not fit the model.

    Source: Selvaraju et al. 2017, equations 1 and 2; on the logit, not the softmax.
    """
    names = [layers] if isinstance(layers, str) else layers
    _check_model(model, names)
    images = _fitting(images, model)
    names = conv_layers(model) if names is None else list(names)
    if classes is not None:
        classes = _checked_classes(classes, len(images), model.outputs[0].shape[-1])
    taps, network = _tapped(model, names)
    parts = {name: [] for name in names}
    for start in range(0, len(images), BATCH):
        batch = slice(start, start + BATCH)
        chosen = None if classes is None else classes[batch]
        for name, activation, gradient in zip(names, *_differentiate(network, taps, images[batch], chosen)):
            parts[name].append(_normalised_map(activation, gradient))
    return {name: np.concatenate(maps) for name, maps in parts.items()}


def resize(maps: np.ndarray) -> np.ndarray:
    """Scale maps to the size of the images, bilinearly.

    Args:
        maps: float32 (N, h, w), as from `heatmaps`.

    Returns:
        float32 (N, 48, 48), in the range of the input.
    """
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in np.asarray(maps, np.float32)])


def overlay(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Lay maps over their darkened images: no heat leaves them grey, more heat covers them with lighter colour.

    Args:
        images: uint8 (N, H, W), 0..255.
        maps: float32 (N, H, W), 0..1, as from `resize`.

    Returns:
        uint8 (N, H, W, 3), red, green, blue.

    Raises:
        InputError: images and maps differ in shape.
    """
    if images.shape != maps.shape:
        raise InputError(f"overlay: images {images.shape} and maps {maps.shape} differ in shape; resize the maps first")
    colours = matplotlib.colormaps[COLOURS](maps)[..., :3]
    opacity = OPACITY * maps[..., None]
    return np.uint8(np.rint(255 * opacity * colours + (1 - opacity) * DIM * images[..., None]))


class _Tap(keras.layers.Layer):
    """Adds `probe`, an array of zeros, to what passes through, so that it can be differentiated there."""

    probe = None

    def call(self, inputs):
        return inputs if self.probe is None else inputs + self.probe

    def compute_output_shape(self, input_shape):
        return input_shape


def _tapped(model, names):
    """Rebuild the network over the same layers with a tap after each named one; outputs: activations, logits."""
    known = _layers(model)
    taps = {name: _Tap(dtype=known[name].dtype_policy) for name in names}

    def call(layer, *args, **kwargs):
        if isinstance(layer, keras.Model):  # its layers take its place
            return run(layer, *args)
        outputs = layer(*args, **kwargs)
        if layer.name not in taps:
            return outputs
        if taps[layer.name].built:
            raise InputError(f"Grad-CAM: layer {layer.name!r} is used twice; a map is of one use")
        return taps[layer.name](outputs)

    def run(part, inputs):  # as keras.models.clone_model does, which cannot go into a model inside
        graph = keras.Model(part.inputs[0], part.outputs[0])
        return graph._run_through_graph(inputs, operation_fn=lambda layer: layer, call_fn=call)

    inputs = keras.Input(model.inputs[0].shape[1:])
    logits = run(model, inputs)
    taps = list(taps.values())
    return taps, keras.Model(inputs, [[tap.output for tap in taps], logits])


def _layers(model):
    """Name -> layer, from input to output; a model inside the model stands for its layers."""
    parts = [
        _layers(layer) if isinstance(layer, keras.Model) else {layer.name: layer}
        for layer in model.layers
        if not isinstance(layer, keras.layers.InputLayer)
    ]
    return {name: layer for part in parts for name, layer in part.items()}


def _differentiate(network, taps, images, classes):
    """Return the activations at the taps and the gradients of the images' class logits by them, two lists."""

    def score(probes):
        for tap, probe in zip(taps, probes):
            tap.probe = probe
        activations, logits = network(images, training=False)
        chosen = ops.argmax(logits, axis=-1) if classes is None else classes
        return ops.sum(logits * ops.one_hot(chosen, logits.shape[-1], dtype=logits.dtype)), activations

    zeros = [ops.zeros((len(images), *tap.output.shape[1:]), tap.output.dtype) for tap in taps]
    gradients, activations = backend.gradient(score, zeros)
    return activations, gradients


def _normalised_map(activations, gradients):
    """Weigh activation maps (N, h, w, k) by their mean gradients, sum, rectify, divide by the maximum of each image."""
    activations, gradients = (ops.convert_to_numpy(ops.cast(x, "float32")) for x in (activations, gradients))
    maps = np.maximum(np.einsum("nhwk,nk->nhw", activations, gradients.mean(axis=(1, 2))), 0)
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)


def _check_model(model, names):
    outputs = getattr(model, "outputs", None) or ()
    if len(getattr(model, "inputs", None) or ()) != 1 or [len(output.shape) for output in outputs] != [2]:
        raise InputError(
            f"Grad-CAM: {getattr(model, 'name', model)!r} is subclassed, was never built, or has several inputs or "
            "outputs; it takes a functional or sequential model that maps one image to one vector of logits"
        )
    known = [name for name, layer in _layers(model).items() if len(getattr(layer.output, "shape", ())) == 4]
    for name in names or ():
        if name not in known:
            raise InputError(
                f"Grad-CAM: model {model.name!r} has no layer {name!r} with a 2-D output; it has {', '.join(known)}"
            )


def _fitting(images, model):
    """The images (N, H, W, channels) as the model's input wants them."""
    images, wanted = np.asarray(images), model.inputs[0].shape[1:]
    shaped = images[..., None] if images.ndim == 3 else images
    if shaped.ndim == 4 and shaped.shape[3] == 1:
        shaped = shaped.repeat(wanted[-1], axis=3)
    fits = all(want in (None, have) for have, want in zip(shaped.shape[1:], wanted))
    if not fits or shaped.ndim != 4 or len(shaped) == 0:
        raise InputError(
            f"Grad-CAM: images of shape {images.shape} do not fit model {model.name!r}; "
            f"its input wants {('N', *wanted)}, at least one image"
        )
    return shaped


def _checked_classes(classes, number, outputs):
    classes = np.asarray(classes)
    if not (
        np.issubdtype(classes.dtype, np.integer)
        and classes.shape in ((), (number,))
        and classes.min() >= 0
        and classes.max() < outputs
    ):
        raise InputError(
            f"Grad-CAM: classes must be one integer or {number}, each in 0..{outputs - 1}; got {classes!r}"
        )
    return np.broadcast_to(classes, number).astype("int32")
