"""Distortions that no training contains: what a network does with them shows whether it withstands more than it saw.

Each function takes images uint8 (N, 48, 48), 0..255, and a numpy Generator, and returns new images of that kind.
"""

from __future__ import annotations

import cv2
import numpy as np

from ferhelpers.data import IMAGE_SIZE
from ferhelpers.distortions import normal, to_uint8


def motion_blur(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mean along a line of 7 pixels, in any direction: a moving head, or camera."""
    out = np.empty_like(images)
    for number, angle in enumerate(rng.uniform(0, 180, len(images))):
        line = np.zeros((7, 7), np.float32)
        line[3] = 1
        kernel = cv2.warpAffine(line, cv2.getRotationMatrix2D((3, 3), angle, 1), (7, 7))
        out[number] = cv2.filter2D(images[number], -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return out


def jpeg(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """JPEG at quality 10. The generator has no effect."""
    return np.stack(
        [
            cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 10])[1], cv2.IMREAD_GRAYSCALE)
            for image in images
        ]
    )


def pixelation(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Squares of 3 pixels, each of their mean: 16 x 16 of them are left. The generator has no effect."""
    side = IMAGE_SIZE // 3
    means = images.reshape(-1, side, 3, side, 3).mean(axis=(2, 4), dtype=np.float32)
    return to_uint8(means).repeat(3, axis=1).repeat(3, axis=2)


def low_contrast(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fifth of each image's contrast, about its own mean. The generator has no effect."""
    mean = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return to_uint8(mean + np.float32(0.2) * (images - mean))


def mask(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A face mask: nose and mouth under woven cloth of any shade, with folds and two straps."""
    # In FER-2013's crops a detector's eyes lie in row 19, the tip of the nose in row 28, the mouth in row 36.
    outline = [(5, 25), (16, 24), (24, 22), (31, 24), (42, 25), (41, 38), (34, 47), (24, 48), (13, 47), (6, 38)]
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE]
    cloth = 8 * np.sin(rows * 1.1) - 0.06 * (columns - 24) ** 2 + 4 * ((rows + columns) % 2)  # folds, roundness, weave
    return _covered(images, rng, cloth, [outline], [((0, 20), (5, 26)), ((47, 20), (42, 26))])


def sunglasses(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Dark glasses over both eyes, each with a glint."""
    rows, columns = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE]
    glint = np.where((columns - rows) % 20 < 3, 25.0, 0.0)
    lenses = [[(x - 8, 14), (x + 8, 14), (x + 7, 23), (x + 3, 25), (x - 4, 25), (x - 7, 22)] for x in (14, 34)]
    return _covered(images, rng, glint, lenses, [((20, 16), (28, 16)), ((0, 15), (7, 15)), ((41, 15), (47, 15))], 40)


def _covered(images, rng, texture, shapes, lines, brightest=255):
    """Draw shapes and lines of one random shade an image, moved by up to 2 pixels, with the texture on them."""
    out = np.empty_like(images)
    for number, image in enumerate(images):
        move = rng.integers(-2, 3, 2)
        cover = np.zeros_like(image)
        for shape in shapes:
            cv2.fillPoly(cover, [np.int32(shape) + move], 1)
        for start, end in lines:
            cv2.line(cover, (start + move).tolist(), (end + move).tolist(), 1)
        shade = rng.uniform(10, brightest) + texture + 2 * normal(image, rng)
        out[number] = np.where(cover, to_uint8(shade), image)
    return out


UNSEEN = {
    "motion_blur": motion_blur,
    "jpeg": jpeg,
    "pixelation": pixelation,
    "low_contrast": low_contrast,
    "mask": mask,
    "sunglasses": sunglasses,
}


def apply(name: str, images: np.ndarray, seed: int = 0) -> np.ndarray:
    """One of UNSEEN on images uint8 (N, 48, 48); the same seed gives the same bytes."""
    return UNSEEN[name](images, np.random.default_rng([seed, list(UNSEEN).index(name)]))
