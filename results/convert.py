"""Makes the runs of an older format in results/fer2013 those of today, or removes them.

    python results/convert.py

Format 5: every convolution was normalised, pixels were 0..255, and validation images were drawn without a look at
copies (`Experiment.wiring`, `scale`, `validation`). Such runs are kept where `experiments.readings` asks for them;
other ones are removed.
"""

import shutil
from pathlib import Path

from ferhelpers import evaluation
from ferhelpers.experiments import Experiment, Settings, readings
from ferhelpers.files import write_json
from ferhelpers.runs import FORMAT, MANIFEST, Run
from ferhelpers.store import Store

RESULTS = Path(__file__).with_name("fer2013")
SINCE_5 = {"wiring": "sequential", "scale": "byte", "annealing": "none", "study_epochs": 100}


def convert(store: Store) -> None:
    """Convert or remove every run of the store that is not of today's format, one line each."""
    asked = set(readings(Settings()).values())
    for folder in sorted(path.parent for path in store.folder.glob(f"*/{MANIFEST}")):
        run = Run(folder)
        if run.config["format"] == FORMAT:
            continue
        old = run.config["experiment"]
        validation = "test" if old["validation"] == "test" else "by_image"
        experiment = Experiment(**{**old, **SINCE_5, "validation": validation}) if run.config["format"] == 5 else None
        if experiment not in asked:
            shutil.rmtree(folder)
            print(f"removed {folder.name}")
            continue
        fingerprint = run.config["data"]["fingerprint"]
        config = {
            **run.config,
            "format": FORMAT,
            "experiment": experiment.content(),
            "key": experiment.key(fingerprint),
        }
        metrics = evaluation.scores(run).to_dict("records")
        write_json(folder / "config.json", config)
        write_json(folder / "metrics.json", metrics)
        Store.seal(folder)
        folder.rename(store.path(experiment, fingerprint))
        print(f"converted {folder.name}")


if __name__ == "__main__":
    convert(Store(RESULTS / "runs"))
