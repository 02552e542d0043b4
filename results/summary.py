"""The README's tables of results, from the runs in results/fer2013 and nothing else.

python results/summary.py
"""

import re
from pathlib import Path

import pandas as pd

from ferhelpers import claims, defects, parameters, report
from ferhelpers.experiments import Settings, everything
from ferhelpers.notebook import hardware
from ferhelpers.runs import Store

RESULTS = Path(__file__).with_name("fer2013")
ROOT = RESULTS.parents[1]
README = ROOT / "README.md"
SCHEDULES = {"full": "The report's protocol", "fast": "The short schedule"}


def summary() -> str:
    """For each schedule the networks that were run, on the report's six test sets; from the report's own schedule more."""
    store = Store(RESULTS, results=RESULTS)
    fingerprint = store.results[0].config["data"]["fingerprint"]
    parts = []
    for profile, title in SCHEDULES.items():
        asked = everything(Settings.from_parameters(parameters.read_profile(profile)))
        runs = store.find_as_asked(asked, fingerprint)
        parts += [f"### {title} (`--profile {profile}`)", *_six_sets(runs)]
        trained = [run for found in runs.values() for run in found]
        hours = sum(run.history.seconds.sum() for run in trained) / 3600
        machines = "; ".join(sorted({hardware(run.config["environment"]) for run in trained}))
        parts.append(f"Trainings: {len(trained)}, of {hours:.1f} hours in all without their evaluation ({machines}).")
        if lacking := "; ".join(report.NETWORKS[name] for name in report.NETWORKS if not runs[name]):
            parts.append(f"Not run yet: {lacking}.")
        if profile == "full":
            parts += _judged(runs) + _stopped(store.find_stopped(asked, fingerprint))
    return "\n\n".join(parts)


def _judged(runs: dict) -> list[str]:
    """What only networks that had the report's schedule can say: when their loss turned, which noise it added, whether its claims hold."""
    frame = claims.verdicts(runs)
    judged = frame[frame.verdict.isin(claims.JUDGED)]
    tables = [_markdown(judged[["claim", "verdict", "report says", "this run"]])] if len(judged) else []
    turns = report.turning_points({name: found for name, found in runs.items() if found})
    return [
        "The validation loss during training, and when it passed the loss that the report found on clean test images:",
        _markdown(turns),
        "Accuracy and loss on the images of the report's second section, under each reading of its Gaussian noise (notebook 2; in another draw than "
        "above), and the mean distances from the report's numbers:",
        _markdown(defects.noise_readings(runs)),
        f"Claims of the report that these runs can judge: {len(judged)} of {len(frame)}.",
        *tables,
    ]


def _six_sets(runs: dict) -> list[str]:
    """The tables of accuracy and of loss, of the networks that were run."""
    frames = [report.six_sets(runs, metric).rename(columns={"network": metric}) for metric in report.DIGITS]
    return [_markdown(frame[frame.epochs != report.NOT_RUN]) for frame in frames]


def _stopped(stopped: dict) -> list[str]:
    """What networks of the report's schedule would have been, had they been stopped where their validation loss was lowest."""
    return [
        "### Stopped earlier",
        "Networks of the report's protocol, stopped where their validation loss was lowest, unless that was at the end:",
        *_six_sets(stopped),
        "And on the images of the report's second section, under each reading of its Gaussian noise (in another draw than above):",
        _markdown(defects.noise_readings(stopped)),
    ]


def _markdown(frame: pd.DataFrame) -> str:
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).values.tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    between = re.compile("(?<=<!-- results -->\n).*(?=<!-- end of results -->)", re.DOTALL)
    README.write_text(between.sub(lambda _: f"{summary()}\n", README.read_text()))
