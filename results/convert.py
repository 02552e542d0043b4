"""Makes the runs in results/fer2013 those of today's code, or removes them.

    python results/convert.py

Runs of an older format are removed. The others are named and described by today's `Experiment`, their metrics made from
their logits again, and their commands those that train them today.
"""

import re
import shutil
from pathlib import Path

from ferhelpers import evaluation, parameters
from ferhelpers.experiments import Experiment, Recipe, Settings, everything, readings
from ferhelpers.files import write_json
from ferhelpers.runs import FORMAT, MANIFEST, Run
from ferhelpers.store import Store

RESULTS = Path(__file__).with_name("fer2013")


def convert(store: Store) -> None:
    """Convert or remove every run of the store that is not as today's code would write it, one line each."""
    full = Settings.from_parameters(parameters.read_profile("full"))
    networks = {**readings(full), **everything(full)}
    for folder in sorted(path.parent for path in store.folder.glob(f"*/{MANIFEST}")):
        run = Run(folder)
        if run.config["format"] != FORMAT:
            shutil.rmtree(folder)
            print(f"removed {folder.name}")
            continue
        recipe, fingerprint = run.config["experiment"].get("recipe"), run.config["data"]["fingerprint"]
        experiment = Experiment(**run.config["experiment"] | {"recipe": recipe and Recipe(**recipe)})
        config = run.config | {"experiment": experiment.content(), "key": experiment.key(fingerprint)}
        for name, network in networks.items():
            if network.key(fingerprint) == config["key"]:
                config["command"] = re.sub(r"--networks \S+", f"--networks {name}", config["command"])
        scores = evaluation.scores(run)
        same = scores.round(9).equals(run.metrics.round(9))  # the last digits depend on the processor
        if config != run.config or not same:
            write_json(folder / "config.json", config)
            write_json(folder / "metrics.json", scores.to_dict("records"))
            Store.seal(folder)
            folder = folder.rename(store.path(experiment, fingerprint))
            print(f"converted {folder.name}")


if __name__ == "__main__":
    convert(Store(RESULTS / "runs"))
