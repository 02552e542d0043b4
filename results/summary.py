"""The README's tables of results, from the runs in results/fer2013 and nothing else.

python results/summary.py
"""

import re
from pathlib import Path

import pandas as pd

from ferhelpers import claims, defects, parameters, tables
from ferhelpers.environment import hardware
from ferhelpers.experiments import Settings, everything
from ferhelpers.published import DIGITS, NETWORKS
from ferhelpers.runs import NOT_RUN, Runs
from ferhelpers.store import Results

RESULTS = Path(__file__).with_name("fer2013")
ROOT = RESULTS.parents[1]
README = ROOT / "README.md"
SCHEDULES = {"full": "The report's protocol", "fast": "The short schedule"}


def summary() -> str:
    """For each schedule the networks that were run, on six test sets; from the report's own schedule more."""
    results = Results(RESULTS)
    fingerprint = results.runs[0].config["data"]["fingerprint"]
    parts = []
    for profile, title in SCHEDULES.items():
        asked = everything(Settings.from_parameters(parameters.read_profile(profile)))
        runs = results.find_all(asked, fingerprint).trained_as(asked)
        parts += [f"### {title} (`--profile {profile}`)", *_six_sets(runs)]
        trained = [run for seeds in runs.values() for run in seeds]
        hours = sum(run.history.seconds.sum() for run in trained) / 3600
        machines = "; ".join(sorted({hardware(run.config["environment"]) for run in trained}))
        parts.append(f"Trainings: {len(trained)}, of {hours:.1f} hours in all without their evaluation ({machines}).")
        if lacking := "; ".join(NETWORKS[name] for name in NETWORKS if not runs[name]):
            parts.append(f"Not run yet: {lacking}.")
        if profile == "full":
            parts += _judged(runs)
    return "\n\n".join(parts)


def _judged(runs: Runs) -> list[str]:
    """What only networks of the report's schedule can say: when losses turned, which noise fits, which claims hold."""
    frame = claims.verdicts(runs)
    judged = frame[frame.verdict.isin(claims.JUDGED)]
    verdicts = [_markdown(judged[["claim", "verdict", "report says", "this run"]])] if len(judged) else []
    return [
        "The validation loss during training, and when it passed the loss that the report found on clean test images:",
        _markdown(tables.turning_points(runs.only(*runs.first()))),
        "Accuracy and loss on the images of the report's second section, under each reading of its Gaussian noise "
        "(notebook 2; in another draw than above), and the mean distances from the report's numbers:",
        _markdown(defects.noise_readings(runs)),
        f"Claims of the report that these runs can judge: {len(judged)} of {len(frame)}.",
        *verdicts,
    ]


def _six_sets(runs: Runs) -> list[str]:
    """The tables of accuracy and of loss, of the networks that were run."""
    frames = [tables.six_sets(runs, metric).rename(columns={"network": metric}) for metric in DIGITS]
    return [_markdown(frame[frame.epochs != NOT_RUN]) for frame in frames]


def _markdown(frame: pd.DataFrame) -> str:
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).values.tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    between = re.compile("(?<=<!-- results -->\n).*(?=<!-- end of results -->)", re.DOTALL)
    README.write_text(between.sub(lambda _: f"{summary()}\n", README.read_text()))
