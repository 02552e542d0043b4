"""Makes the runs in results/fer2013 those of today's code, or removes them.

    python results/convert.py

Format 5: every convolution was normalised, pixels were 0..255, and validation images were drawn without a look at
copies (`Experiment.wiring`, `scale`, `validation`). Such runs are kept where `experiments.readings` asks for them;
other ones are removed. The metrics of all runs are made from their logits again.
"""

import shutil
from pathlib import Path

from ferhelpers import evaluation
from ferhelpers.experiments import Experiment, Settings, readings
from ferhelpers.files import write_json
from ferhelpers.runs import FORMAT, MANIFEST, Run
from ferhelpers.store import Store

RESULTS = Path(__file__).with_name("fer2013")
FORMAT_5 = {"wiring": "sequential", "scale": "byte", "validation": "by_image", "annealing": "none", "study_epochs": 100}


def convert(store: Store) -> None:
    """Convert or remove every run of the store that is not as today's code would write it, one line each."""
    asked = set(readings(Settings()).values())
    for folder in sorted(path.parent for path in store.folder.glob(f"*/{MANIFEST}")):
        run = Run(folder)
        config, metrics, target = run.config, evaluation.scores(run), folder
        if config["format"] != FORMAT:
            experiment = Experiment(**{**config["experiment"], **FORMAT_5}) if config["format"] == 5 else None
            if experiment not in asked:
                shutil.rmtree(folder)
                print(f"removed {folder.name}")
                continue
            fingerprint = config["data"]["fingerprint"]
            target = store.path(experiment, fingerprint)
            config = {**config, "experiment": experiment.content(), "key": experiment.key(fingerprint)}
        elif metrics.equals(run.metrics):
            continue
        write_json(folder / "config.json", {**config, "format": FORMAT})
        write_json(folder / "metrics.json", metrics.to_dict("records"))
        Store.seal(folder)
        folder.rename(target)
        print(f"converted {target.name}")


if __name__ == "__main__":
    convert(Store(RESULTS / "runs"))
