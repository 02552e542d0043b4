"""Makes the runs in results/fer2013 those of today's code, or removes them.

    python results/convert.py

Format 7: the recipe of robust networks did not say which share of the images is distorted; it was the default. Runs of
older formats are removed. The metrics of all runs are made from their logits again.
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
        if old and run.config["format"] != 7:
            shutil.rmtree(folder)
            print(f"removed {folder.name}")
        elif old or not metrics.equals(run.metrics):
            data = run.config["data"]["fingerprint"]
            recipe = run.config["experiment"].get("recipe")
            experiment = Experiment(**run.config["experiment"] | {"recipe": recipe and Recipe(**recipe)})
            named = {"format": FORMAT, "experiment": experiment.content(), "key": experiment.key(data)}
            write_json(folder / "config.json", run.config | named)
            write_json(folder / "metrics.json", metrics.to_dict("records"))
            Store.seal(folder)
            folder = folder.rename(store.path(experiment, data))
            print(f"converted {folder.name}")


if __name__ == "__main__":
    convert(Store(RESULTS / "runs"))
