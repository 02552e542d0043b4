"""Put the numbers of the report, of results/fer2013 and of the shipped network into the READMEs and docs/.

python results/summary.py
"""

import functools
import re
from pathlib import Path

import draws
import pandas as pd

from ferhelpers import claims, defects, parameters, plots, robustness, shipped, tables
from ferhelpers.distortions import NAMES
from ferhelpers.environment import hardware
from ferhelpers.experiments import Settings, diets, everything, readings, robust_training
from ferhelpers.progress import duration
from ferhelpers.published import DIGITS, NETWORKS, by_network, pair
from ferhelpers.runs import NOT_RUN, Run, Runs
from ferhelpers.store import Results

RESULTS = Path(__file__).with_name("fer2013")
ROOT = RESULTS.parents[1]
PAGES = {
    "answer": ROOT / "README.md",
    "findings": ROOT / "docs" / "findings.md",
    "results": Path(__file__).with_name("README.md"),
    "card": ROOT / "docs" / "model_card.md",
}
FIGURE = ROOT / "docs" / "severities.png"
TRACES = ["report: trace / sum", "report: by chance"]
SCHEDULES = {"full": "The report's protocol", "fast": "The short schedule"}


@functools.cache
def trained(profile: str, factory=everything) -> Runs:
    """The stored runs of a table of `experiments` that were trained by a profile."""
    results, asked = Results(RESULTS), factory(Settings.from_parameters(parameters.read_profile(profile)))
    return results.find_all(asked, results.runs[0].config["data"]["fingerprint"]).trained_as(asked)


def results_page() -> str:
    """All tables, in Markdown."""
    parts = []
    for profile, title in SCHEDULES.items():
        runs = trained(profile)
        parts += [f"## {title} (`--profile {profile}`)", *_trainings(runs)]
    tried, robust = trained("full", readings), trained("full", diets)
    parts += [
        "## Networks that withstand distortion",
        "Accuracy / loss on whole test sets (notebook 9). *Report's best* is the best number of any of its networks on "
        "each test set. Its test images may be others (`docs/findings.md`).",
        _markdown(robustness.six_sets(robust.only(*robustness.SIDE_BY_SIDE)).reset_index()),
        "Accuracy by kind of distortion, on whole test sets. The five after clean are means over the textbook's "
        "severities. No training holds the last six (contrast changes by a fifth at most).",
        _markdown(robustness.matrix(robust).map("{:.3f}".format).reset_index()),
        "## Readings of how the report trained",
        "Accuracy / loss in the report's layout (notebook 6). *Unit*: pixels 0..1, wired as the tutorial. *Byte*: the "
        "same at 0..255. *Full*: *unit* after all epochs. *Earlier* is how this study read the report at first: "
        "every convolution normalised, pixels 0..255, copies of validation images among the training images. *Lite* is "
        "EfficientNet-Lite0 from ImageNet weights (notebook 7). *Distance*: mean distance of accuracies from the "
        "report's. *Factor*: mean ratio of the larger loss to the smaller.",
        _markdown(tables.readings(Runs({**tried, **trained("full").only("lite_frozen", "lite")}))),
        "Wiring or scale? The final network by the short schedule:",
        _markdown(tables.readings(trained("fast", readings).only("final_unit", "final_byte", "final_earlier"))),
        "## Readings of its Gaussian noise",
        "Accuracy / loss on the images that the report laid its noise on, by the report's protocol as it is read now, "
        "the nearest in accuracy first. These are draws of their own: compare the first with Gaussian noise above.",
        _markdown(defects.noise_readings(trained("full"))),
        "## How much a draw of the noise matters",
        f"Mean ± standard deviation over {len(draws.SEEDS)} draws, on all of PublicTest (`draws.py`). On "
        "the report's fifths a draw matters about twice as much:",
        _markdown(draws.summary(pd.read_csv(draws.TABLE))),
        "## How far apart seeds lie",
        "Standard deviation between seeds of one network on whole test sets, pooled over networks: those of the claims "
        "on the short schedule, then those of notebook 9. `evaluation.seed_spread` rests on them where the rate falls "
        "to 0. On the report's schedule no two seeds were compared: its spread is assumed.",
        _markdown(tables.seed_spreads(trained("fast").only(*claims.networks()))),
        _markdown(tables.seed_spreads(robust)),
        "## Claims",
        "*Here* is by the first schedule that has a verdict, on whole test sets. The networks of the short schedule "
        "have a quarter of the filters. *Trained otherwise*: the training's schedule, length or weights cannot answer; "
        "the notebooks say why. Notebook 3 explains the cautions.",
        _markdown(
            claims.verdicts(trained("full"), short=trained("fast"))
            .drop(columns=["evidence", "epochs"])
            .rename(columns={"verdict": "report's schedule", "this run": "here"})
        ),
    ]
    return "\n\n".join(parts)


def _trainings(runs: Runs) -> list[str]:
    """The networks that were trained, on six test sets, and what they took."""
    every = [run for seeds in runs.values() for run in seeds]
    if not every:
        return ["No network was trained by it as it is read now. Earlier readings are below."]
    hours = sum(run.history.seconds.sum() for run in every) / 3600
    machines = "; ".join(sorted({hardware(run.config["environment"]) for run in every}))
    frames = [tables.six_sets(runs, metric).rename(columns={"network": metric}) for metric in DIGITS]
    parts = [_markdown(frame[frame.epochs != NOT_RUN]) for frame in frames]
    parts.append(f"Trainings: {len(every)}, of {hours:.1f} hours in all without their evaluation ({machines}).")
    if lacking := "; ".join(NETWORKS[name] for name in NETWORKS if not runs[name]):
        parts.append(f"Not trained: {lacking}.")
    return parts


def answer() -> str:
    """The findings in short, and the report's final network beside the one trained here and the package's."""
    full, short, robust = trained("full"), trained("fast"), trained("full", diets)
    how, here = ("", full["final"]) if full["final"] else (", short schedule", short["final"])
    networks = {f"here{how}": here, "the larger network": robust[robustness.LARGER]}
    columns = {"the report's final network": tables.pairs(by_network().loc["final"])}
    columns |= {label: tables.pairs(tables.six(Runs(shown=seeds), "shown")) for label, seeds in networks.items()}
    table = pd.DataFrame(columns).rename_axis("accuracy / loss").reset_index()
    note = "*The table and first sentence test each distortion on a fifth of the images, the rest on all.*"
    figure = f"![Accuracy by severity of distortion, by training images]({FIGURE.relative_to(ROOT)})"
    one_view = shipped.card()["scores"]["clean/one view"]["accuracy"]
    best = robustness.best_reported().accuracy["clean"]
    sentences = [
        *claims.answer(full, short),
        *robustness.answer(robust),
        f"With one view, the larger network has {one_view:.3f} on clean images (report's best: {best:.3f}).",
    ]
    bullets = "\n".join(f"- {sentence}" for sentence in sentences)
    return "\n\n".join([bullets, _markdown(table), note, figure])


def findings() -> str:
    """What the report's own numbers show, without any training."""
    margins = defects.margins([str(number) for number in range(3, 21)])
    leading = margins[margins["second: 95 % interval"].str.startswith("+")]
    leaders = "; ".join(f"{row['most accurate']} on {row['test set']}" for _, row in leading.iterrows())
    guesses = defects.guessing_check(Runs())
    column = "report: better than a constant prediction in"
    both = guesses[guesses[column] == "both"].network.value_counts()
    confusions = defects.confusion_check(Runs())
    traces = ", ".join(
        f"{share:.3f} (chance alone: {chance:.3f})" for share, chance in confusions[TRACES].itertuples(index=False)
    )
    overall = defects.overall_check()
    rows = "; ".join("{}, {}: {}, mean {}".format(*row) for row in overall.itertuples(index=False))
    wording = [
        f"- {row[1]} ({row[0]}). Its tables: {row[2]}." for row in defects.wording_check().itertuples(index=False)
    ]
    return "\n".join(
        [
            f"- {len(leading)} of its Tables 3 to 20 have a most accurate network with a significant lead: {leaders}.",
            "- Better than a constant prediction in accuracy and in loss, of six test sets: "
            + "; ".join(f"{name} on {count}" for name, count in both.items())
            + ".",
            f"- The diagonals of its confusion matrices hold what chance puts there: {traces}.",
            f"- Its rows for all distorted images are not the means of their five sections: {rows}.",
            *wording,
        ]
    )


def card() -> str:
    """The shipped network's size, training, scores and recalls."""
    about, rows = shipped.card(), []
    names = {"clean": "private", "clean/one view": "private/one view", "clean/new": "private/new"}
    for public, private in (names | {name: f"private/{name}" for name in NAMES}).items():
        label = public.replace("_", " ").replace("/new", ", without copies of training images").replace("/", ", ")
        rows.append((label, *(pair(**about["scores"][key]) for key in (public, private))))
    scores = pd.DataFrame(rows, columns=["accuracy / loss", "PublicTest", "PrivateTest"])
    recalls = pd.DataFrame([{"": "recall on PrivateTest", **{k: f"{v:.2f}" for k, v in about["recall"].items()}}])
    run = Run(RESULTS / "runs" / about["run"])
    took = f"{duration(run.history.seconds.sum())} ({hardware(run.config['environment'])})"
    size = f"{about['parameters']:,} parameters; trained in {took} by `{about['command']}`."
    return "\n\n".join([size, _markdown(scores), _markdown(recalls)])


def draw() -> None:
    """The figure of the project's README: what training on distorted images gives."""
    runs = trained("full", robust_training)
    FIGURE.write_bytes(plots.png(plots.severity_curves(robustness.severities(runs))))


def _markdown(frame: pd.DataFrame) -> str:
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).values.tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    for name, text in (("answer", answer()), ("findings", findings()), ("results", results_page()), ("card", card())):
        between = re.compile(f"(?<=<!-- {name} -->\n).*(?=<!-- end of {name} -->)", re.DOTALL)
        PAGES[name].write_text(between.sub(lambda _, text=text: f"{text}\n", PAGES[name].read_text()))
    draw()
