"""Put the network of a stored run into the package: its weights as numbers, and what is known of it.

    python results/ship.py outputs/full/runs/resnet1.5-...  --data fer2013.zip    ferhelpers/weights/robust.*
    python results/ship.py --data fer2013.zip                                     only the scores, computed anew

Every score is that of the shipped numbers (float16), by four views unless it says "one view"; the textbook's severities
are left out.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np

from ferhelpers import calibration, data, distortions, duplicates, evaluation, robust, shipped, training
from ferhelpers.files import write_atomically, write_json
from ferhelpers.runs import Run


def ship(folder: Path) -> None:
    """Write robust.npz of this run, and robust.json without its scores."""
    run = Run(folder)
    weights = [value.astype("float16") for value in run.model().get_weights()]
    write_atomically(shipped.FOLDER / "robust.npz", lambda file: np.savez_compressed(file, *weights))
    about = {
        "run": folder.name,
        **{key: run.config[key] for key in ("command", "data", "experiment", "parameters")},
        "sha256": hashlib.sha256((shipped.FOLDER / "robust.npz").read_bytes()).hexdigest(),
    }
    write_json(shipped.FOLDER / "robust.json", about)


def measure(dataset: data.Dataset) -> dict:
    """The shipped network's temperature, its scores by test set, and its recall by emotion on the private split."""
    _, validation = training.training_and_validation(shipped.experiment(), dataset)
    more = {name: split for name, split in robust.test_sets(dataset, validation).items() if not name[-1].isdigit()}
    sets = {**distortions.test_sets(dataset), **more, "validation": validation}
    images = duplicates.find(dataset)
    for name, split in {"clean": "public", "private": "private"}.items():
        sets[f"{name}/new"] = sets[name].take(np.flatnonzero(~duplicates.in_training(images, split)))
        sets[f"{name}/one view"] = sets[name]
    model = shipped.load()
    logits = {
        name: training.predict(model, split.images, views=not name.endswith("/one view"))
        for name, split in sets.items()
    }
    mixture = np.concatenate([logits["validation"], logits["validation/distorted"]])
    recalls = evaluation.recall(logits["private"], dataset.private.labels)
    return {
        "temperature": round(calibration.temperature(mixture, np.tile(validation.labels, 2)), 4),
        "recall": dict(zip(data.CLASSES, recalls.round(4).tolist(), strict=True)),
        "scores": {
            name: {
                "accuracy": round(evaluation.accuracy(values, sets[name].labels), 4),
                "loss": round(evaluation.cross_entropy(values, sets[name].labels), 4),
            }
            for name, values in logits.items()
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="its folder, with model.keras")
    parser.add_argument("--data", default="auto", metavar="SOURCE", help="as for run_all.py")
    options = parser.parse_args()
    dataset = data.load(options.data)
    about = Run(options.run).config if options.run else shipped.card()
    if about["data"]["fingerprint"] != dataset.fingerprint:
        parser.error("the network was trained on other data; name them by --data")
    if options.run:
        ship(options.run)
    write_json(shipped.FOLDER / "robust.json", shipped.card() | measure(dataset))
