"""From a photo to emotions: find the faces, crop them as FER-2013 does, recognise each.

    python -m ferhelpers photo.jpg                 # writes emotions/photo.png and emotions/faces.csv

    faces = ferhelpers.recognise("photo.jpg")      # or an array, or a PIL image
    faces[0].emotion, faces[0].probabilities       # "happy", (7,)

Faces are found by MTCNN (Zhang et al. 2016), whose weights come in the package `mtcnn`. On a photo of six people it
found all six; the cascade of scikit-image found five, and six more where no face is. OpenCV 5 has no cascades any
more, and the weights of its YuNet are in no package.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import cv2
import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import special

from ferhelpers import backend, calibration, distortions, gradcam, plots, robust, shipped, unseen
from ferhelpers.data import CLASSES, IMAGE_SIZE
from ferhelpers.errors import InputError
from ferhelpers.runs import Run

if TYPE_CHECKING:
    from mtcnn import MTCNN

CROP_SIDE = 0.95  # of FER-2013's crop, in heights of MTCNN's box, whose centre it shares (benchmarks/crops.csv)
SURE = 0.9  # of a detected face: below it, MTCNN takes patterns for faces
LONGEST = 1280  # pixels: the side that a larger photo is reduced to before faces are looked for


class Network(NamedTuple):
    """A trained network, ready to be asked.

    Attributes:
        model: keras.Model (N, 48, 48, 1) -> logits (N, 7).
        logits: function of uint8 images (N, 48, 48) -> float32 (N, 7), with a recipe means over `robust.views`.
        temperature: what logits are divided by, so that probabilities are calibrated on validation images.
    """

    model: keras.Model
    logits: Callable[[np.ndarray], np.ndarray]
    temperature: float

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """float (N, 7) of uint8 images (N, 48, 48), in the order of data.CLASSES; each row sums to 1."""
        return special.softmax(self.logits(images) / self.temperature, axis=1)


@dataclass(frozen=True)
class Face:
    """One face of a photo.

    Attributes:
        box: (left, top, side) of its square in the photo, pixels; it may reach beyond the edges.
        image: uint8 (48, 48), what the network saw.
        probabilities: float (7,), in the order of data.CLASSES.
    """

    box: tuple[int, int, int]
    image: np.ndarray
    probabilities: np.ndarray

    @property
    def emotion(self) -> str:
        """The most probable class."""
        return CLASSES[int(self.probabilities.argmax())]


@functools.cache
def network(run: Path | None = None) -> Network:
    """The network that comes with the package, or that of a stored run; loaded once.

    Args:
        run: the folder of a run with its model.keras, such as outputs/fast/runs/cnn2-...
    """
    if run is None:
        model, temperature, views = shipped.load(), shipped.card()["temperature"], True
    else:
        stored = Run(run)
        model, temperature, views = stored.model(), calibration.run_temperature(stored), stored.views
    function = backend.inference(model)

    def logits(images: np.ndarray) -> np.ndarray:
        seen = robust.views(images) if views else [images]
        return np.mean([np.asarray(function(view[..., None])) for view in seen], axis=0)

    return Network(model, logits, temperature)


def read(image: str | Path | BinaryIO | Image.Image | np.ndarray) -> np.ndarray:
    """Any image as uint8 (H, W, 3): the first frame, upright, over white where it is transparent.

    Args:
        image: a path, an open file, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4) of uint8, uint16, or
            floats 0..1.

    Raises:
        InputError: no image that can be read, a damaged one, an array of another shape.
    """
    if isinstance(image, np.ndarray):
        if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,), (4,)) or 0 in image.shape:
            raise InputError(f"an image is an array (H, W), (H, W, 3) or (H, W, 4); this one is {image.shape}")
        image = Image.fromarray(_eight_bits(image))
    if not isinstance(image, (str, Path, Image.Image)) and not hasattr(image, "read"):
        raise InputError(f"an image is a path, an open file, a PIL image or an array, not {type(image).__name__}")
    try:
        opened = image if isinstance(image, Image.Image) else Image.open(image)
        if opened.mode in ("I", "F") or opened.mode.startswith("I;"):
            opened = Image.fromarray(_eight_bits(np.asarray(opened)))
        upright = ImageOps.exif_transpose(opened).convert("RGBA")
    except (UnidentifiedImageError, IsADirectoryError) as error:
        raise InputError(f"{image} is no image that can be read, such as .jpg or .png") from error
    except FileNotFoundError as error:
        raise InputError(f"{image}: no such file") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{image} has too many pixels: {error}") from error
    except (OSError, ValueError, SyntaxError) as error:  # Pillow's errors for files that end early or are damaged
        raise InputError(f"{image} cannot be read: {error}") from error
    white = Image.new("RGBA", upright.size, "white")
    return np.asarray(Image.alpha_composite(white, upright).convert("RGB"))


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey levels 0..255 of an array: floats up to about 1 are shares; uint16, and integers above 255, have 16 bits."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "buif" or not np.isfinite(values).all() or values.min() <= -1:
        raise InputError("an image holds whole numbers from 0, or floats 0..1 or 0..255; these are others")
    if values.dtype == bool or (values.dtype.kind == "f" and values.max() <= 2):  # interpolation can overshoot
        values = values * 255.0
    elif values.dtype == np.uint16 or values.max() > 255:
        values = values / 257
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def find_faces(photo: np.ndarray) -> list[tuple[int, int, int]]:
    """The squares that FER-2013 would have cropped, (left, top, side) in pixels, the largest first.

    Args:
        photo: uint8 (H, W, 3).

    Raises:
        InputError: the package `mtcnn` is not installed.
    """
    scale = min(1.0, LONGEST / max(photo.shape[:2]))
    small = photo if scale == 1 else cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    squares = []
    for face in detector().detect_faces(np.ascontiguousarray(small)) if min(small.shape[:2]) >= 20 else []:
        if face["confidence"] >= SURE:
            squares.append(square(*(value / scale for value in face["box"])))
    return sorted(squares, key=lambda square: -square[2])


def square(left: float, top: float, width: float, height: float, side: float = CROP_SIDE) -> tuple[int, int, int]:
    """The crop of a detector's box: (left, top, side), pixels; `side` is in heights of the box."""
    x, y, length = left + width / 2, top + height / 2, side * height
    return round(x - length / 2), round(y - length / 2), max(1, round(length))


@functools.cache
def detector() -> MTCNN:
    """MTCNN, loaded once; raises InputError where the package `mtcnn` is not installed."""
    try:
        from mtcnn import MTCNN
    except ModuleNotFoundError as error:
        raise InputError(
            "finding faces needs the package mtcnn: pip install '.[photo]'; faces that are cropped already need none "
            "(--cropped)"
        ) from error
    return MTCNN()


def crop(photo: np.ndarray, box: tuple[int, int, int]) -> np.ndarray:
    """A square of a photo as FER-2013 has it: grey, uint8 (48, 48); edges repeat their last pixel.

    Args:
        photo: uint8 (H, W, 3).
        box: (left, top, side), pixels.
    """
    left, top, side = box
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    rows, columns = (
        np.clip(np.arange(start, start + side), 0, length - 1)
        for start, length in zip((top, left), grey.shape, strict=True)
    )
    how = cv2.INTER_AREA if side >= IMAGE_SIZE else cv2.INTER_CUBIC
    return cv2.resize(grey[np.ix_(rows, columns)], (IMAGE_SIZE, IMAGE_SIZE), interpolation=how)


def recognise(
    image: str | Path | Image.Image | np.ndarray, cropped: bool = False, run: str | Path | None = None
) -> list[Face]:
    """The faces of a photo and their emotions, the largest first.

    Args:
        image: as in `read`.
        cropped: the image, or the square in its middle, is one face, as in FER-2013; no face is looked for.
        run: the folder of a stored run to ask instead of the network that comes with the package.

    Returns:
        One Face for each face; an empty list where none is found.

    Raises:
        InputError: no image, a run without its network, or no detector.
    """
    photo = read(image)
    if cropped:
        height, width, _ = photo.shape
        side = min(height, width)
        boxes = [((width - side) // 2, (height - side) // 2, side)]
    else:
        boxes = find_faces(photo)
    if not boxes:
        return []
    images = [crop(photo, box) for box in boxes]
    probabilities = network(run and Path(run)).probabilities(np.stack(images))
    return [Face(*face) for face in zip(boxes, images, probabilities, strict=True)]


def distorted(face: Face) -> dict[str, np.ndarray]:
    """The same face as it is, under a mask, sunglasses, and each textbook distortion in all severities.

    Returns:
        dict, a name such as "none", "mask" or "speckle 3" (the severity) -> uint8 (48, 48).
    """
    image = face.image[None]
    images = {"none": image, **{name: unseen.apply(name, image) for name in ("mask", "sunglasses")}}
    for name in distortions.NAMES:
        for severity in distortions.SEVERITIES:
            short = name.removeprefix("gaussian_").replace("_", " ")
            images[f"{short} {severity}"] = distortions.apply(name, image, form="textbook", severity=severity)
    return {name: image[0] for name, image in images.items()}


def what_if(face: Face, run: str | Path | None = None) -> pd.DataFrame:
    """What the network says of each of a face's `distorted` images.

    Returns:
        DataFrame, one row each: distortion, emotion, its probability, and that of the undistorted face's emotion.
    """
    images = distorted(face)
    probabilities = network(run and Path(run)).probabilities(np.stack(list(images.values())))
    return pd.DataFrame(
        {
            "distortion": list(images),
            "emotion": [CLASSES[row.argmax()] for row in probabilities],
            "probability": probabilities.max(axis=1),
            f"probability of {face.emotion}": probabilities[:, face.probabilities.argmax()],
        }
    )


def what_if_sheet(face: Face, answers: pd.DataFrame) -> Figure:
    """A face's `distorted` images, each under its distortion and the emotion of `what_if`'s answers."""
    titles = answers.distortion + "\n" + answers.emotion
    return plots.image_sheet(np.stack(list(distorted(face).values())), titles, columns=6)


def largest(faces: list[Face]) -> Face:
    """The first face; raises InputError where there is none."""
    if not faces:
        raise InputError("no face was found on this photo: choose another, or set CROPPED")
    return faces[0]


def table(faces: list[Face]) -> pd.DataFrame:
    """The probability of each emotion: one row a class, one column a face."""
    columns = {f"face {number}": face.probabilities for number, face in enumerate(faces, start=1)}
    return pd.DataFrame(columns, index=pd.Index(CLASSES, name="emotion"))


def heat(faces: list[Face], run: str | Path | None = None) -> np.ndarray:
    """Grad-CAM of the last convolution that sees at least 6 x 6 positions, on each face: uint8 (N, 48, 48, 3)."""
    model, images = network(run and Path(run)).model, np.stack([face.image for face in faces])
    layer = next(name for name in reversed(gradcam.conv_layers(model)) if model.get_layer(name).output.shape[1] >= 6)
    return gradcam.overlay(images, gradcam.resize(gradcam.heatmaps(model, images, layer)[layer]))
