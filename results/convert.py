"""Makes the runs in results/fer2013 those of today's code, or removes them.

    python results/convert.py           FER-2013 is found as run_all.py finds it

Formats 7 and 8: `robust.GENERAL` was another mixture. Networks that were trained on it are removed. The other ones of
notebook 9 are tested on validation images with today's, if their weights are there, and removed if not. Runs of older
formats are removed. The metrics of all runs are made from their logits again.
"""

import shutil
from pathlib import Path

import numpy as np

from ferhelpers import data, evaluation, robust, training
from ferhelpers.experiments import Experiment, Recipe
from ferhelpers.files import write_atomically, write_json
from ferhelpers.runs import FORMAT, MANIFEST, Run
from ferhelpers.store import Store

RESULTS = Path(__file__).with_name("fer2013")


def convert(store: Store) -> None:
    """Convert or remove every run of the store that is not as today's code would write it, one line each."""
    for folder in sorted(path.parent for path in store.folder.glob(f"*/{MANIFEST}")):
        run = Run(folder)
        made, recipe = run.config["format"], run.config["experiment"].get("recipe")
        known = not recipe or recipe["diet"] == "clean" or recipe.get("distorted") == Recipe().distorted
        testable = known and (not recipe or (folder / "model.keras").exists())
        if made != FORMAT and not (made in (7, 8) and testable):
            shutil.rmtree(folder)
            print(f"removed {folder.name}")
        elif made != FORMAT or not evaluation.scores(run).equals(run.metrics):
            if made != FORMAT and recipe:
                _test_anew(run)
            fingerprint = run.config["data"]["fingerprint"]
            experiment = Experiment(**run.config["experiment"] | {"recipe": recipe and Recipe(**recipe)})
            named = {"format": FORMAT, "experiment": experiment.content(), "key": experiment.key(fingerprint)}
            write_json(folder / "config.json", run.config | named)
            write_json(folder / "metrics.json", evaluation.scores(run).to_dict("records"))
            Store.seal(folder)
            folder = folder.rename(store.path(experiment, fingerprint))
            print(f"converted {folder.name}")


def _test_anew(run: Run) -> None:
    """Its logits of the distorted validation images, by its network."""
    dataset = data.load("auto")
    _, validation = training.training_and_validation(Experiment(), dataset)
    images = robust.test_sets(dataset, validation)["validation/distorted"].images
    run.arrays["validation/distorted"] = training.predict(run.model(), images, views=True).astype("float16")
    write_atomically(run.folder / "predictions.npz", lambda file: np.savez_compressed(file, **run.arrays))


if __name__ == "__main__":
    convert(Store(RESULTS / "runs"))
