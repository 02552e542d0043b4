"""Which square around a detected face is FER-2013's crop? Geometry, and the accuracy of the shipped network by crop.

    python benchmarks/crops.py --data fer2013.zip      benchmarks/crops.csv; about five minutes on two CPU cores

Validation images are enlarged fourfold and put on a wider canvas, whose edges repeat theirs. The detector's box is
compared with the image, which is FER-2013's crop. Then each face is cropped by its box, from tightly to widely.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ferhelpers import data, evaluation, photo, shipped, training
from ferhelpers.data import IMAGE_SIZE

TABLE = Path(__file__).with_suffix(".csv")
IMAGES = 500
ENLARGED, MARGIN = 4 * IMAGE_SIZE, 64  # pixels
SIDES = (0.7, 0.8, 0.9, 0.95, 1.0, 1.1, 1.2)  # of the crop, in heights of the detector's box


def canvas(image: np.ndarray) -> np.ndarray:
    """uint8 (320, 320, 3): the image in the middle of a photo."""
    large = cv2.resize(image, (ENLARGED, ENLARGED), interpolation=cv2.INTER_CUBIC)
    large = cv2.copyMakeBorder(large, *[MARGIN] * 4, cv2.BORDER_REPLICATE)
    return cv2.cvtColor(large, cv2.COLOR_GRAY2RGB)


def measure(source: str) -> pd.DataFrame:
    """Rows of measure, value: where FER-2013's crop lies beside the box, and accuracy by the side of the crop."""
    _, validation = training.training_and_validation(shipped.experiment(), data.load(source))
    chosen = validation.take(np.random.default_rng(0).choice(len(validation), IMAGES, replace=False))
    boxes, faces = [], []
    for number, image in enumerate(chosen.images):
        candidates = [
            face["box"] for face in photo.detector().detect_faces(canvas(image)) if face["confidence"] >= photo.SURE
        ]
        if candidates:
            boxes.append(max(candidates, key=lambda box: box[3]))
            faces.append(number)
    left, top, width, height = np.array(boxes, dtype=float).T
    middle = MARGIN + ENLARGED / 2
    rows = [
        ("images", IMAGES),
        ("faces found", len(faces)),
        ("side of FER-2013's crop, in heights of the box", np.median(ENLARGED / height)),
        ("its centre right of the box's, in heights", np.median((middle - left - width / 2) / height)),
        ("its centre below the box's, in heights", np.median((middle - top - height / 2) / height)),
    ]
    ask, labels = photo.network().probabilities, chosen.labels[faces]
    rows.append(("accuracy on these images as they are", evaluation.accuracy(ask(chosen.images[faces]), labels)))
    for side in SIDES:
        crops = [
            photo.crop(canvas(chosen.images[number]), photo.square(*box, side)) for number, box in zip(faces, boxes)
        ]
        rows.append((f"accuracy on crops of side {side}", evaluation.accuracy(ask(np.stack(crops)), labels)))
    return pd.DataFrame(rows, columns=["measure", "value"]).round(3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="auto", metavar="SOURCE", help="as for run_all.py")
    frame = measure(parser.parse_args().data)
    frame.to_csv(TABLE, index=False)
    print(frame.to_string(index=False))
