"""A trained network for other programs: as ONNX, or as a Keras file that needs no `ferhelpers` (docs/export.md).

python -m ferhelpers.export emotions.onnx                                    the network that comes with the package
python -m ferhelpers.export final.keras --run outputs/full/runs/cnn2-...     that of a stored run
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ferhelpers.data import IMAGE_SIZE
from ferhelpers.environment import quiet
from ferhelpers.errors import InputError, exit_status
from ferhelpers.files import writing
from ferhelpers.runs import Run

with quiet():
    import keras

    from ferhelpers import shipped
    from ferhelpers.layers import BatchNormalization, RandomWarp


def plain(model: keras.Model) -> keras.Model:
    """The same network of Keras' own layers, in float32, without augmentation.

    Args:
        model: functional and flat, as `models` builds them.
    """

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, RandomWarp):
            return keras.layers.Identity(name=layer.name)
        kind = keras.layers.BatchNormalization if isinstance(layer, BatchNormalization) else type(layer)
        return kind.from_config({**layer.get_config(), "dtype": "float32"})

    copied = keras.models.clone_model(model, clone_function=copy)
    copied.set_weights(model.get_weights())
    return copied


def write(model: keras.Model, path: Path) -> None:
    """Write a network's `plain` form, images (N, 48, 48, 1), 0..255 -> logits (N, 7).

    Args:
        path: ends in .onnx or .keras.

    Raises:
        InputError: another ending, a package that is missing, or a file that cannot be written.
    """
    if path.suffix not in (".onnx", ".keras"):
        raise InputError(f"{path}: a network is written as .onnx or .keras")
    onnx = path.suffix == ".onnx"
    if onnx and (keras.backend.backend() != "tensorflow" or importlib.util.find_spec("tf2onnx") is None):
        raise InputError("ONNX is written by tf2onnx, on TensorFlow: pip install '.[export]'")
    copied = plain(model)
    with writing(path), TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        if onnx:
            copied(np.zeros((1, IMAGE_SIZE, IMAGE_SIZE, 1), "float32"))  # Keras exports what has been called
            copied.export(part, format="onnx", verbose=False)
        else:
            copied.save(part)
        os.replace(part, path)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser("python -m ferhelpers.export", description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, help="what to write: NAME.onnx or NAME.keras")
    parser.add_argument("--run", type=Path, help="folder of a stored run with its model.keras")
    options = parser.parse_args(arguments)

    def work() -> int:
        write(Run(options.run).model() if options.run else shipped.load(), options.file)
        print(f"{options.file}: {options.file.stat().st_size / 1e6:.1f} MB")
        return 0

    return exit_status(work)


if __name__ == "__main__":
    sys.exit(main())
