"""The README's table of results, from the runs in results/fer2013 and nothing else.

    python results/summary.py
"""

import re
from pathlib import Path

import pandas as pd

from ferhelpers import claims, defects, report
from ferhelpers.experiments import Settings, everything
from ferhelpers.runs import Store

RESULTS = Path(__file__).with_name("fer2013")
README = RESULTS.parents[1] / "README.md"


def summary() -> str:
    """The networks that were run, on the report's six test sets; the readings of its noise; the claims that could be judged."""
    store = Store(RESULTS, results=RESULTS)
    runs = store.find_all(everything(Settings()), store.results[0].config["data"]["fingerprint"])
    parts = []
    for metric in report.DIGITS:
        frame = report.six_sets(runs, metric)
        parts.append(_markdown(frame[frame.epochs != report.NOT_RUN].rename(columns={"network": metric})))
    readings = defects.noise_readings(runs)[["reading", "what it is", *(f"all: {metric}" for metric in report.DIGITS)]]
    names = {f"all: {metric}": f"distance of the {metric} from the report's" for metric in report.DIGITS}
    parts.append("Candidate readings of the report's Gaussian noise, on the networks that had the report's epochs:")
    parts.append(_markdown(readings.rename(columns=names)))
    frame = claims.verdicts(runs)
    judged = frame[frame.verdict != report.NOT_RUN]
    if len(judged):
        parts.append(_markdown(judged[["claim", "source", "verdict", "evidence"]]))
    lacking = "; ".join(report.NETWORKS[name] for name in report.NETWORKS if not runs[name]) or "none"
    parts.append(f"Not run yet: {lacking}. Claims that could not be judged from these runs: {len(frame) - len(judged)} of {len(frame)}.")
    return "\n\n".join(parts)


def _markdown(frame: pd.DataFrame) -> str:
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).values.tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    between = re.compile("(?<=<!-- results -->\n).*(?=<!-- end of results -->)", re.DOTALL)
    README.write_text(between.sub(lambda _: f"{summary()}\n", README.read_text()))
