"""Makes the runs in results/fer2013 those of today's code, or removes them.

    python results/convert.py

Format 7: the recipe of robust networks did not say which share of the images is distorted, and the share was another.
They are removed, but those trained on clean images stay. The metrics of all runs are made from their logits again.
"""

import shutil
from pathlib import Path

from ferhelpers import evaluation
from ferhelpers.experiments import Experiment, Recipe
from ferhelpers.files import write_json
from ferhelpers.runs import FORMAT, MANIFEST, Run
from ferhelpers.store import Store

RESULTS = Path(__file__).with_name("fer2013")


def convert(store: Store) -> None:
    """Convert or remove every run of the store that is not as today's code would write it, one line each."""
    for folder in sorted(path.parent for path in store.folder.glob(f"*/{MANIFEST}")):
        run = Run(folder)
        old, metrics = run.config["format"] != FORMAT, evaluation.scores(run)
        recipe = run.config["experiment"].get("recipe")
        if old and (run.config["format"] != 7 or recipe and recipe["diet"] != "clean"):
            shutil.rmtree(folder)
            print(f"removed {folder.name}")
        elif old or not metrics.equals(run.metrics):
            data = run.config["data"]["fingerprint"]
            experiment = Experiment(**run.config["experiment"] | {"recipe": recipe and Recipe("clean")})
            named = {"format": FORMAT, "experiment": experiment.content(), "key": experiment.key(data)}
            write_json(folder / "config.json", run.config | named)
            write_json(folder / "metrics.json", metrics.to_dict("records"))
            Store.seal(folder)
            folder = folder.rename(store.path(experiment, data))
            print(f"converted {folder.name}")


if __name__ == "__main__":
    convert(Store(RESULTS / "runs"))
