"""The report's numbers beside those of a run.

`runs` is everywhere a dict: name of the experiment (`NETWORKS`, or a reader's own) -> list of runs, one a seed. An experiment that
is missing, or has an empty list, is shown as "not run". With several seeds a number is the mean over them, and its interval
covers the choice of test images and of seeds (recalls: of images); with one, that of the images alone.
"""

from __future__ import annotations

import functools
import json
import math
from importlib import resources

import numpy as np
import pandas as pd

from ferhelpers import distortions, evaluation
from ferhelpers.data import CLASSES
from ferhelpers.errors import InputError
from ferhelpers.experiments import PROTOCOL, Settings

NOT_RUN = "not run"
NOT_PUBLISHED = "not published"
TEST_SETS = ("clean", *distortions.NAMES)  # the report's six
DIGITS = {"accuracy": 3, "loss": 2}  # as published

NETWORKS = {  # experiment -> its name in tables
    "baseline_test_validation": "baseline, validation = test",
    "baseline": "baseline",
    "blocks_1": "1 block",
    "blocks_2": "2 blocks",
    "blocks_3": "3 blocks",
    "blocks_4": "4 blocks, dropout 0.3",
    "blocks_5": "5 blocks",
    "listing": "5 blocks, wired as listed",
    "no_normalisation": "5 blocks, no normalisation",
    "dropout_0.5": "4 blocks, dropout 0.5",
    "dropout_0.65": "4 blocks, dropout 0.65",
    "final": "final",
    "efficientnet": "EfficientNetB0",
    "lite_frozen": "EfficientNet-Lite0, frozen",
    "lite": "EfficientNet-Lite0",
}
_EXPERIMENTS = {  # factor -> how its level is called as an experiment
    "baseline": {"validation=test": "baseline_test_validation", "separate validation": "baseline"}.get,
    "blocks": "blocks_{}".format,
    "dropout": lambda rate: "blocks_4" if rate == "0.3" else f"dropout_{rate}",
    "model": str,
}


@functools.cache
def _published() -> pd.DataFrame:
    with resources.files("ferhelpers").joinpath("published/report_tables.csv").open() as file:
        frame = pd.read_csv(file, dtype={"table": str, "level": str})
    frame["experiment"] = [_EXPERIMENTS[factor](level) for factor, level in zip(frame["factor"], frame["level"])]
    return frame


def published(table: str | None = None) -> pd.DataFrame:
    """The report's accuracies and losses.

    Args:
        table: "1" to "20", "6.1.2", "6.1.3" (single results given in those sections), or None for all.

    Returns:
        DataFrame in the report's order: table, factor, level, test_set, accuracy (0..1), loss (nats), experiment.

    Raises:
        InputError: no such table.

    Source: report, Tables 1-20. Used in: 03 to 07.
    """
    frame = _published()
    if table is None:
        return frame.copy()
    if table not in set(frame["table"]):
        raise InputError(f'table {table!r} is not in the report: choose "1" to "20", "6.1.2" or "6.1.3"')
    return frame[frame["table"] == table].reset_index(drop=True)


def runs_of(runs: dict, experiment: str) -> list:
    """The runs of an experiment, [] where it was not run."""
    return runs.get(experiment, [])


def as_reported(runs: dict, experiment: str) -> list:
    """The runs of one of the report's experiments that had its schedule and, for EfficientNet, pre-trained weights."""
    return [run for run in runs_of(runs, experiment) if PROTOCOL[experiment].followed_by(run.config["experiment"])]


def alike(runs: dict, experiments) -> dict:
    """The runs of these networks that can be compared: all seeds or, where one network has a single one, the first of each."""
    single = any(len(runs_of(runs, name)) == 1 for name in experiments)
    return {name: runs_of(runs, name)[: 1 if single else None] for name in experiments}


def epochs_of(runs: dict, experiment: str) -> str:
    """How long an experiment was trained, of how long the report trained it: "2 of 100"."""
    found = runs_of(runs, experiment)
    return f"{found[0].config['experiment']['epochs']} of {_epochs_asked(experiment)}" if found else NOT_RUN


def _epochs_asked(experiment: str) -> int:
    """The report's epochs; of a reader's own network what `Settings.epochs` is by default."""
    return PROTOCOL[experiment].epochs if experiment in PROTOCOL else Settings.epochs


def one_schedule(runs: dict, experiments) -> bool:
    """Whether all these trainings that were run had the same share of the report's epochs (`Settings.epochs`, rounded up), and
    one learning rate, decay and batch size."""
    contents = {name: found[0].config["experiment"] for name in experiments if (found := runs_of(runs, name))}
    if len({(content["learning_rate"], content["decay"], content["batch_size"]) for content in contents.values()}) > 1:
        return False
    pairs = [(content["epochs"], _epochs_asked(name) / Settings.epochs) for name, content in contents.items()]
    above, most = max((epochs - 1) / share for epochs, share in pairs), min(epochs / share for epochs, share in pairs)
    return math.floor(most + 1e-9) > above + 1e-9


def network_name(runs: dict, experiment: str) -> str:
    """What tables call an experiment: EfficientNet with the weights that it started from; each with its epochs where
    the runs had no common schedule, and with its learning rate where another had as many at another rate; a reader's own as it is called."""
    name, found = NETWORKS.get(experiment, experiment), runs_of(runs, experiment)
    if experiment == "efficientnet" and found:
        weights = found[0].config["experiment"]["weights"]
        start = {"none": "random weights", "imagenet": "ImageNet weights"}.get(weights, "weights from a file")
        name = f"{name} ({start})"
    return name + _schedule(runs, experiment)


def _schedule(runs, experiment) -> str:
    found = runs_of(runs, experiment)
    if not found or one_schedule(runs, runs):
        return ""
    epochs = epochs_of(runs, experiment)
    rates = {
        other[0].config["experiment"]["learning_rate"]
        for name, other in runs.items()
        if other and epochs_of(runs, name) == epochs
    }
    rate = f" at rate {found[0].config['experiment']['learning_rate']:g}" if len(rates) > 1 else ""
    return f", {epochs} epochs{rate}"


def _level(runs, line) -> str:
    """What a published line's network is called beside the others of its table."""
    return (
        network_name(runs, line.experiment) if line.factor == "model" else line.level + _schedule(runs, line.experiment)
    )


def not_run(runs: dict, *experiments: str) -> pd.DataFrame | None:
    """A table that says which of these experiments lack a run; None where none does."""
    missing = [network_name(runs, name) for name in experiments if not runs_of(runs, name)]
    return pd.DataFrame({"network": missing, "result": NOT_RUN}) if missing else None


def histories(runs: dict) -> dict[str, list[pd.DataFrame]]:
    """Network -> the history of each seed, of the networks that were run. Used in: 03 to 07."""
    return {network_name(runs, name): [run.history for run in found] for name, found in runs.items() if found}


def turning_points(runs: dict) -> pd.DataFrame:
    """When did the validation loss turn, and when did it pass the loss that the report found on clean test images?

    Args:
        runs: experiment -> list of runs; the first seed of each is shown.

    Returns:
        DataFrame, one row a network: network, epochs, lowest validation loss, its epoch, validation loss at the end; the report's loss on clean
        test images, and the last epoch at which the validation loss was not above it.

    Used in: 04, 05, 06.
    """
    columns = ["network", "epochs", "lowest", "at epoch", "at the end", "report: test loss", "last epoch not above it"]
    losses = published().query("test_set == 'clean'").drop_duplicates("experiment").set_index("experiment").loss
    rows = []
    for name, found in runs.items():
        said = f"{losses[name]:.2f}" if name in losses else NOT_PUBLISHED
        cells = NOT_RUN, NOT_RUN, NOT_RUN, said, NOT_RUN
        if found:
            curve = found[0].history.set_index("epoch").val_loss
            below = curve.index[curve <= losses.get(name, 0)]
            cells = (
                f"{curve.min():.2f}",
                curve.idxmin(),
                f"{curve.iloc[-1]:.2f}",
                said,
                below[-1] if len(below) else "–",
            )
        rows.append((network_name(runs, name), epochs_of(runs, name), *cells))
    return pd.DataFrame(rows, columns=columns)


def confusions(runs: dict) -> dict[str, np.ndarray]:
    """Network -> confusion matrix of its first seed on the clean test images, of the networks that were run. Used in: 03, 06, 07."""
    return {
        network_name(runs, name): evaluation.confusion(found[0].logits("clean"), found[0].labels("clean"))
        for name, found in runs.items()
        if found
    }


def _measured(runs: list) -> pd.DataFrame:
    """The runs' metrics, mean over seeds, by (test_set, layout), and the range of accuracy and loss over them."""
    by_set = pd.concat([run.metrics for run in runs]).groupby(["test_set", "layout"], sort=False)
    frame = by_set.mean()
    for metric in DIGITS:
        frame[f"{metric}_least"], frame[f"{metric}_most"] = by_set[metric].min(), by_set[metric].max()
    measures = ((evaluation.correct, ["low", "high"], 1), (evaluation.losses, ["loss_low", "loss_high"], math.inf))
    if len(runs) > 1:
        for test_set, layout in frame.index:
            of_seeds = [evaluation.predictions(run, test_set, layout) for run in runs]
            for measure, columns, most in measures:
                values = np.array([measure(*of_seed) for of_seed in of_seeds])
                frame.loc[(test_set, layout), columns] = np.clip(evaluation.mean_interval(values), 0, most)
    return frame


def per_image(runs: dict, experiment: str, test_set: str, metric: str) -> np.ndarray:
    """float64 (seeds, N): whether each image of a whole test set is recognised, or its loss.

    Args:
        metric: "accuracy" or "loss".
    """
    measure = {"accuracy": evaluation.correct, "loss": evaluation.losses}[metric]
    return np.array(
        [measure(*evaluation.predictions(run, test_set)) for run in runs_of(runs, experiment)], dtype=np.float64
    )


def _in_report_layout(scores: pd.DataFrame, test_set: str) -> pd.Series:
    """The row of `_measured` that the report's number stands beside: for a distortion, its section."""
    return scores.loc[(test_set, "section" if test_set in distortions.NAMES else "whole")]


def _span(low, high, digits) -> str:
    return "one image" if np.isnan(low) else f"{low:.{digits}f} to {high:.{digits}f}"


def _beside(metric, value, scores, test_set) -> dict:
    """The cells of one published number; `scores` from `_measured`, or None where nothing was run."""
    digits, columns = DIGITS[metric], ("this run", "whole set", "difference", "95 % interval", "inside")
    if scores is None:
        return {f"{metric}: report": f"{value:.{digits}f}", **{f"{metric}: {column}": NOT_RUN for column in columns}}
    whole, like = scores.loc[(test_set, "whole")], _in_report_layout(scores, test_set)
    low, high = like[["low", "high"] if metric == "accuracy" else ["loss_low", "loss_high"]]
    cells = (
        f"{like[metric]:.{digits}f}",
        f"{whole[metric]:.{digits}f}",
        f"{like[metric] - value:+.{digits}f}",
        _span(low, high, digits),
        "yes" if low <= value <= high else "no",
    )
    return {
        f"{metric}: report": f"{value:.{digits}f}",
        **{f"{metric}: {column}": cell for column, cell in zip(columns, cells)},
        f"{metric}: over seeds": _span(like[f"{metric}_least"], like[f"{metric}_most"], digits),
    }


def side_by_side(table: str, runs: dict) -> pd.DataFrame:
    """One published table beside the run.

    Args:
        table: "1" to "20", "6.1.2" or "6.1.3".
        runs: experiment -> list of runs.

    Returns:
        DataFrame, one row a published line: what the table varies (blocks, dropout, network or test set), then for
        accuracy and for loss: report | this run (in the report's layout: a distortion on its fifth of the test images) |
        whole set (the same distortion on all of them) | difference (this run - report) | 95 % interval of this run |
        inside (is the report's number in it?) | over seeds (range; only where there are several). "not run" where the
        network was not trained.

    Raises:
        InputError: no such table.

    Source: report, Tables 1-20. Used in: 03 to 07.
    """
    lines = published(table)
    scores = {
        name: _measured(runs_of(runs, name)) if runs_of(runs, name) else None for name in set(lines["experiment"])
    }
    rows = []
    for line in lines.itertuples():
        varied = {"baseline": "test set", "model": "network"}.get(line.factor, line.factor)
        row = {varied: line.test_set if line.factor == "baseline" else _level(runs, line)}
        for metric in DIGITS:
            row |= _beside(metric, getattr(line, metric), scores[line.experiment], line.test_set)
        rows.append(row)
    frame = pd.DataFrame(rows)
    seeds = [column for column in frame if column.endswith("over seeds")]
    if max(len(runs_of(runs, name)) for name in scores) < 2:
        return frame.drop(columns=seeds)
    return frame.fillna(dict.fromkeys(seeds, NOT_RUN))


def overview(runs: dict) -> pd.DataFrame:
    """The study in one table: every network on clean and distorted test images.

    Args:
        runs: experiment -> list of runs.

    Returns:
        DataFrame, one row a network, the report's first: network, epochs ("55 of 55"), seeds, accuracy and loss on the clean test
        set (report | this run, and the 95 % interval of the accuracy), accuracy on PrivateTest, accuracy and loss on the distorted
        test set (the five sections together).

    Used in: 07.
    """
    clean = published().query("test_set == 'clean'").drop_duplicates("experiment").set_index("experiment")
    rows = []
    for experiment in dict.fromkeys([*NETWORKS, *runs]):
        found = runs_of(runs, experiment)
        report = dict.fromkeys(DIGITS, NOT_PUBLISHED)
        if experiment in clean.index:
            report = {metric: f"{clean.loc[experiment, metric]:.{digits}f}" for metric, digits in DIGITS.items()}
        row = {
            "network": network_name(runs, experiment),
            "epochs": epochs_of(runs, experiment),
            "seeds": len(found),
            "accuracy: report": report["accuracy"],
            "accuracy: this run": NOT_RUN,
            "accuracy: 95 % interval": NOT_RUN,
            "loss: report": report["loss"],
            "loss: this run": NOT_RUN,
            "PrivateTest accuracy": NOT_RUN,
            "distorted accuracy": NOT_RUN,
            "distorted loss": NOT_RUN,
        }
        if found:
            scores = _measured(found).xs("whole", level="layout")
            row |= {
                "accuracy: this run": f"{scores.accuracy['clean']:.3f}",
                "accuracy: 95 % interval": _span(scores.low["clean"], scores.high["clean"], 3),
                "loss: this run": f"{scores.loss['clean']:.2f}",
                "PrivateTest accuracy": f"{scores.accuracy['private']:.3f}",
                "distorted accuracy": f"{scores.accuracy['distorted_overall']:.3f}",
                "distorted loss": f"{scores.loss['distorted_overall']:.2f}",
            }
        rows.append(row)
    return pd.DataFrame(rows)


def six_sets(runs: dict, metric: str) -> pd.DataFrame:
    """The study in the report's own terms: every network on the report's six test sets, in the report's layout.

    Args:
        runs: experiment -> list of runs.
        metric: "accuracy" or "loss".

    Returns:
        DataFrame, one row a network, the report's first: network, epochs ("55 of 55"), seeds, then for each of TEST_SETS this run's number with the
        report's behind it: "0.601 (0.596)".

    Used in: 07, and in the README.
    """
    lines = published().drop_duplicates(["experiment", "test_set"]).set_index(["experiment", "test_set"])[metric]
    digits, rows = DIGITS[metric], []
    for experiment in dict.fromkeys([*NETWORKS, *runs]):
        found = runs_of(runs, experiment)
        scores = _measured(found) if found else None
        row = {"network": network_name(runs, experiment), "epochs": epochs_of(runs, experiment), "seeds": len(found)}
        for test_set in TEST_SETS:
            measured = f"{_in_report_layout(scores, test_set)[metric]:.{digits}f}" if found else NOT_RUN
            there = (experiment, test_set) in lines.index
            row[test_set.replace("_", " ")] = measured + (
                f" ({lines[experiment, test_set]:.{digits}f})" if there else ""
            )
        rows.append(row)
    return pd.DataFrame(rows)


def class_recall_table(runs: dict) -> pd.DataFrame:
    """Recall of each class on the clean test set. The report's own cannot be known (`defects.confusion_check`).

    Args:
        runs: experiment -> list of runs.

    Returns:
        DataFrame, one row a class: class, images, then the recall of each network, mean over its seeds.

    Used in: 03, 06, 07.
    """
    columns = {"class": list(CLASSES), "images": NOT_RUN}
    for experiment, found in runs.items():
        columns[network_name(runs, experiment)] = NOT_RUN
        if found:
            columns["images"] = np.bincount(found[0].labels("clean"), minlength=len(CLASSES))
            shares = np.mean([evaluation.recall(run.logits("clean"), run.labels("clean")) for run in found], axis=0)
            columns[network_name(runs, experiment)] = [
                "no images" if np.isnan(share) else f"{share:.3f}" for share in shares
            ]
    return pd.DataFrame(columns)


def loss_tails(runs: dict) -> pd.DataFrame:
    """How much of a mean loss few images carry.

    Args:
        runs: experiment -> list of runs; the first seed of each is shown.

    Returns:
        DataFrame, one row a whole test set and network: test set, network, mean, median, 99th percentile, largest loss of an image, and
        the share of the sum that the one per cent of images with the largest losses carry.

    Used in: 06.
    """
    rows = []
    for test_set in TEST_SETS:
        for experiment, found in runs.items():
            cells = (NOT_RUN,) * 5
            if found:
                values = np.sort(per_image(runs, experiment, test_set, "loss")[0])
                top = values[-max(1, len(values) // 100) :].sum() / values.sum()
                numbers = values.mean(), np.median(values), np.quantile(values, 0.99), values[-1]
                cells = *(f"{number:,.2f}" for number in numbers), f"{top:.0%}"
            rows.append((test_set, network_name(runs, experiment), *cells))
    columns = ["test set", "network", "mean", "median", "99th percentile", "largest", "share of the top 1 %"]
    return pd.DataFrame(rows, columns=columns)


def published_confusions() -> dict[str, np.ndarray]:
    """The report's confusion matrices: experiment -> int (7, 7), as printed. Source: report, 6.1.2, 6.1.3, 9."""
    text = resources.files("ferhelpers").joinpath("published/report_confusions.json").read_text()
    return {
        experiment: np.array(matrix)
        for experiment, matrix in zip(("baseline_test_validation", "baseline", "final"), json.loads(text).values())
    }


def levels(tables: list[str], runs: dict, metric: str) -> pd.DataFrame:
    """Published tables as points to draw, in the report's layout.

    Args:
        tables: such as ["3", "4"]; each holds one test set.
        runs: experiment -> list of runs; networks that it does not name are left out.
        metric: "accuracy" or "loss".

    Returns:
        DataFrame, one row a test set and level: test_set, level, measured, low, high (95 % interval; these three NaN for a
        network whose list is empty, and its level says so), published.

    Used in: 04, 05, 06, 07.
    """
    interval = ["low", "high"] if metric == "accuracy" else ["loss_low", "loss_high"]
    lines = pd.concat([published(table) for table in tables])
    lines = lines[lines["experiment"].isin(runs)]
    scores = {name: _measured(found) for name in set(lines["experiment"]) if (found := runs_of(runs, name))}
    rows = []
    for line in lines.itertuples():
        level = _level(runs, line)
        measured = (np.nan,) * 3
        if line.experiment in scores:
            measured = _in_report_layout(scores[line.experiment], line.test_set)[[metric, *interval]]
        else:
            level += f", {NOT_RUN}"
        rows.append((line.test_set, level, *measured, getattr(line, metric)))
    return pd.DataFrame(rows, columns=["test_set", "level", "measured", "low", "high", "published"])


def recalls(runs: dict) -> pd.DataFrame:
    """Recall of each class on the clean test images as points to draw.

    Returns:
        DataFrame, one row a class and network: class, network, measured (0..1, mean over seeds), low, high (95 %
        interval); networks that were not run and classes without images are left out.

    Used in: 06.
    """
    rows = []
    for experiment, found in runs.items():
        if not found:
            continue
        labels = found[0].labels("clean")
        shares = np.mean([evaluation.recall(run.logits("clean"), run.labels("clean")) for run in found], axis=0)
        for name, share, images in zip(CLASSES, shares, np.bincount(labels, minlength=len(CLASSES))):
            if images:
                rows.append((name, network_name(runs, experiment), share, *evaluation.accuracy_interval(share, images)))
    return pd.DataFrame(rows, columns=["class", "network", "measured", "low", "high"])


def compared(runs: dict, first: str, second: str) -> pd.DataFrame:
    """Two networks on the same images: the first minus the second, on every whole test set.

    Args:
        runs: experiment -> list of runs; those that are `alike`.
        first, second: names of experiments.

    Returns:
        DataFrame, one row a test set: test set, then for accuracy and for loss: each network | difference | its 95 %
        interval | p of "no difference" (evaluation.paired; not corrected for the number of rows). Where one was not run, a
        table that says so.

    Used in: 03, 04, 06, 07.
    """
    if (missing := not_run(runs, first, second)) is not None:
        return missing
    runs = alike(runs, (first, second))
    rows = []
    for test_set in (*TEST_SETS, "private"):
        row = {"test set": test_set}
        for metric in DIGITS:
            a, b = per_image(runs, first, test_set, metric), per_image(runs, second, test_set, metric)
            difference = evaluation.paired(a, b)
            row |= {
                f"{metric}: {network_name(runs, first)}": a.mean(),
                f"{metric}: {network_name(runs, second)}": b.mean(),
                f"{metric}: difference": f"{difference.value:+.3f}",
                f"{metric}: 95 % interval": f"{difference.low:+.3f} to {difference.high:+.3f}",
                f"{metric}: p": f"{difference.p:.2g}",
            }
        rows.append(row)
    return pd.DataFrame(rows)


def public_and_private(runs: dict) -> pd.DataFrame:
    """The split that the report tested on beside the one that nobody chose anything by.

    Args:
        runs: experiment -> list of runs; the first seed of each is shown.

    Returns:
        DataFrame, one row a network: network, accuracy on PublicTest and on PrivateTest, difference (private minus public), its
        95 % interval (of two independent shares, by Newcombe's method), loss on both.

    Used in: 07.
    """
    rows = []
    for experiment, found in runs.items():
        row = {"network": network_name(runs, experiment)}
        columns = (
            "PublicTest accuracy",
            "PrivateTest accuracy",
            "difference",
            "95 % interval",
            "PublicTest loss",
            "PrivateTest loss",
        )
        cells = (NOT_RUN,) * len(columns)
        if found:
            public, private = (found[0].metrics.set_index("test_set").loc[name] for name in ("clean", "private"))
            low, high = evaluation.difference_interval(private.accuracy, private.n, public.accuracy, public.n)
            cells = (
                f"{public.accuracy:.3f}",
                f"{private.accuracy:.3f}",
                f"{private.accuracy - public.accuracy:+.3f}",
                f"{low:+.3f} to {high:+.3f}",
                f"{public.loss:.2f}",
                f"{private.loss:.2f}",
            )
        rows.append(row | dict(zip(columns, cells)))
    return pd.DataFrame(rows)


def sections_and_whole(runs: dict) -> pd.DataFrame:
    """How far the report's fifth of the test images lies from the whole: the same distortion, the same networks.

    Args:
        runs: experiment -> list of runs; all seeds are taken.

    Returns:
        DataFrame, one row a distortion: distortion, images in the section, networks, section minus whole in accuracy: mean over
        the networks, least, most; and the standard error of one such difference, by chance alone (a section drawn at random
        without replacement, at the mean accuracy; a distortion that is drawn anew for the section makes it a little larger).

    Used in: 07.
    """
    scores = [run.metrics.set_index(["test_set", "layout"]) for found in runs.values() for run in found]
    columns = ["distortion", "images", "networks", "mean difference", "least", "most", "standard error by chance"]
    if not scores:
        return pd.DataFrame([(name, *(NOT_RUN,) * (len(columns) - 1)) for name in distortions.NAMES], columns=columns)
    rows = []
    for name in distortions.NAMES:
        whole, section = (
            np.array([frame.accuracy[name, layout] for frame in scores]) for layout in ("whole", "section")
        )
        n, total, share = scores[0].n[name, "section"], scores[0].n[name, "whole"], whole.mean()
        chance = math.sqrt(share * (1 - share) * (1 / n - 1 / total))
        difference = section - whole
        rows.append(
            (
                name,
                n,
                len(scores),
                *(f"{value:+.3f}" for value in (difference.mean(), difference.min(), difference.max())),
                chance,
            )
        )
    return pd.DataFrame(rows, columns=columns)
