"""Tables made from `Runs`: the report's numbers beside this run's, and what the report lacks.

An experiment without runs is shown as "not run". With several seeds a number is the mean over them, and its interval
covers the choice of test images and of seeds (recalls: of images); with one, that of the images alone.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd

from ferhelpers import calibration, distortions, duplicates, evaluation
from ferhelpers.data import CLASSES, Dataset
from ferhelpers.experiments import network_of
from ferhelpers.published import DIGITS, NETWORKS, TEST_SETS, apart, by_network, pair, published
from ferhelpers.runs import INTERVALS, NOT_RUN, Runs

NOT_PUBLISHED = "not published"


def side_by_side(table: str, runs: Runs) -> pd.DataFrame:
    """One published table beside the run, in the report's layout: a distortion on its fifth of the test images.

    Args:
        table: "1" to "20", "6.1.2" or "6.1.3".

    Returns:
        DataFrame, one row a published line: what the table varies (blocks, dropout, network or test set), then for
        accuracy and for loss: report | here, with its 95 % interval | difference (here - report).

    Raises:
        InputError: no such table.

    Source: report, Tables 1-20.
    """
    return _beside([table], runs, "section")


def whole_sets(tables: list[str], runs: Runs) -> pd.DataFrame:
    """As `side_by_side`, for several tables at once, and with each distortion on all test images.

    Lines on clean images and on the five sections together are left out: they are whole in `side_by_side`, too.
    """
    frame = _beside(tables, runs, "whole")
    return frame[frame["test set"].isin(distortions.NAMES)].reset_index(drop=True)


def _beside(tables: list[str], runs: Runs, layout: str) -> pd.DataFrame:
    lines = pd.concat([published(table) for table in tables])
    scores = {name: runs.scores(name) for name in lines["experiment"].unique() if runs[name]}
    rows = []
    for line in lines.itertuples():
        row = {"test set": line.test_set} if layout == "whole" or line.factor == "baseline" else {}
        if line.factor != "baseline":
            row["network" if line.factor == "model" else line.factor] = _level(runs, line)
        for metric, digits in DIGITS.items():
            value, measured, difference = getattr(line, metric), NOT_RUN, NOT_RUN
            if line.experiment in scores:
                of_line = in_layout(scores[line.experiment], line.test_set, layout)
                measured = f"{of_line[metric]:.{digits}f} ({_span(*of_line[INTERVALS[metric]], digits)})"
                difference = f"{of_line[metric] - value:+.{digits}f}"
            row[f"{metric}: report"] = f"{value:.{digits}f}"
            row |= {f"{metric}: here": measured, f"{metric}: difference": difference}
        rows.append(row)
    return pd.DataFrame(rows)


def levels(tables: list[str], runs: Runs, metric: str) -> pd.DataFrame:
    """Published tables as points to draw, in the report's layout.

    Args:
        tables: such as ["3", "4"]; each holds one test set.
        runs: networks that it does not name are left out.
        metric: "accuracy" or "loss".

    Returns:
        DataFrame, one row a test set and level: test_set, level, measured, low, high (95 % interval; these three NaN
        for a network that was not run, and its level says so), published.
    """
    lines = pd.concat([published(table) for table in tables])
    lines = lines[lines["experiment"].isin(runs)]
    scores = {name: runs.scores(name) for name in runs.only(*lines["experiment"].unique()).first()}
    rows = []
    for line in lines.itertuples():
        level, measured = _level(runs, line), (np.nan,) * 3
        if line.experiment in scores:
            measured = in_layout(scores[line.experiment], line.test_set)[[metric, *INTERVALS[metric]]]
        else:
            level += f", {NOT_RUN}"
        rows.append((line.test_set, level, *measured, getattr(line, metric)))
    return pd.DataFrame(rows, columns=["test_set", "level", "measured", "low", "high", "published"])


def overview(runs: Runs) -> pd.DataFrame:
    """The study in one table: every network on clean and distorted test images.

    Returns:
        DataFrame, one row a network, the report's first: network, epochs ("55 of 55"), seeds, accuracy and loss on the
        clean test set (report | this run, and the 95 % interval of the accuracy), accuracy on PrivateTest, accuracy and
        loss on the distorted test set (the five sections together).
    """
    header = (
        "network, epochs, seeds, accuracy: report, accuracy: this run, accuracy: 95 % interval, "
        "loss: report, loss: this run, PrivateTest accuracy, distorted accuracy, distorted loss"
    )
    rows = []
    for name in dict.fromkeys([*NETWORKS, *runs]):
        cells = [NOT_RUN] * 6
        if runs[name]:
            scores = runs.scores(name).xs("whole", level="layout")
            interval = _span(scores.low["clean"], scores.high["clean"], 3)
            accuracy, private, distorted = (
                f"{scores.accuracy[test_set]:.3f}" for test_set in ("clean", "private", "distorted_overall")
            )
            losses = [f"{scores.loss[test_set]:.2f}" for test_set in ("clean", "distorted_overall")]
            cells = [accuracy, interval, losses[0], private, distorted, losses[1]]
        accuracy, loss = (_reported(name, metric) for metric in DIGITS)
        rows.append((runs.label(name), runs.epochs(name), len(runs[name]), accuracy, *cells[:2], loss, *cells[2:]))
    return _table(header, rows)


def six_sets(runs: Runs, metric: str) -> pd.DataFrame:
    """The study in the report's own terms: every network on the report's six test sets, in the report's layout.

    Args:
        metric: "accuracy" or "loss".

    Returns:
        DataFrame, one row a network, the report's first: network, epochs ("55 of 55"), seeds, then for each of
        TEST_SETS this run's number with the report's behind it: "0.601 (0.596)".
    """
    lines, digits = by_network()[metric], DIGITS[metric]
    rows = []
    for name in dict.fromkeys([*NETWORKS, *runs]):
        measured = six(runs, name)[metric] if runs[name] else {}
        row = {"network": runs.label(name), "epochs": runs.epochs(name), "seeds": len(runs[name])}
        for test_set in TEST_SETS:
            cell = f"{measured[test_set]:.{digits}f}" if runs[name] else NOT_RUN
            if (name, test_set) in lines.index:
                cell += f" ({lines[name, test_set]:.{digits}f})"
            row[test_set.replace("_", " ")] = cell
        rows.append(row)
    return pd.DataFrame(rows)


def sizes(runs: Runs) -> pd.DataFrame:
    """How large each network is: network, epochs ("55 of 55"), parameters."""
    sizes = {name: f"{run.config['parameters']:,}" for name, run in runs.first().items()}
    rows = [(runs.label(name), runs.epochs(name), sizes.get(name, NOT_RUN)) for name in runs]
    return _table("network, epochs, parameters", rows)


def readings(runs: Runs) -> pd.DataFrame:
    """How did the report train? Each reading that was run, below the report's row of its network.

    Args:
        runs: of `experiments.readings`, or "lite" and "lite_frozen".

    Returns:
        DataFrame: network, reading (what the report leaves open), epochs, "accuracy / loss" on each of TEST_SETS in the
        report's layout, and how far they are from the report's (`published.apart`).
    """
    rows = []
    for network in dict.fromkeys(map(network_of, runs)):
        report = by_network().loc[network]
        rows.append({"network": NETWORKS[network], "reading": "the report", **pairs(report)})
        for name in runs:
            if network_of(name) != network or not runs[name]:
                continue
            here = six(runs, name)
            rows.append(
                {"network": NETWORKS[network], "reading": name.removeprefix(f"{network}_").replace("_", ", ")}
                | {"epochs": str(runs[name][0].config["experiment"]["epochs"]), **pairs(here)}
                | apart(here[list(DIGITS)], report.loc[here.index])
            )
    return pd.DataFrame(rows).fillna("–")


def pairs(frame: pd.DataFrame) -> dict[str, str]:
    """Test set -> "accuracy / loss", of a frame with one row for each of TEST_SETS, or for more."""
    lines = frame.loc[list(TEST_SETS)].itertuples()
    return {line.Index.replace("_", " "): pair(line.accuracy, line.loss) for line in lines}


def turning_points(runs: Runs) -> pd.DataFrame:
    """When did the validation loss turn, and when did it pass the loss that the report found on clean test images?

    Returns:
        DataFrame, one row a network, by its first seed: network, epochs, lowest validation loss, its epoch, validation
        loss at the end; the report's loss on clean test images, and the last epoch at which the validation loss was at
        or below it.
    """
    rows = []
    for name in runs:
        cells = [NOT_RUN] * 4
        if runs[name]:
            curve = runs[name][0].history.set_index("epoch").val_loss
            below = curve.index[curve <= by_network().loss.get((name, "clean"), 0)]
            cells = [f"{curve.min():.2f}", curve.idxmin(), f"{curve.iloc[-1]:.2f}", below[-1] if len(below) else "–"]
        rows.append((runs.label(name), runs.epochs(name), *cells[:3], _reported(name, "loss"), cells[3]))
    header = "network, epochs, lowest, at epoch, at the end, report: test loss, last epoch at or below it"
    return _table(header, rows)


def class_recalls(runs: Runs) -> pd.DataFrame:
    """Recall of each class on the clean test set. The report's own cannot be known (`defects.confusion_check`).

    Returns:
        DataFrame, one row a class: class, images, then the recall of each network, mean over its seeds.
    """
    columns = {"class": list(CLASSES), "images": NOT_RUN}
    for run in runs.first().values():
        columns["images"] = np.bincount(run.labels("clean"), minlength=len(CLASSES))
    for name in runs:
        columns[runs.label(name)] = NOT_RUN
        if runs[name]:
            recalls = runs.recalls(name)
            columns[runs.label(name)] = ["no images" if np.isnan(share) else f"{share:.3f}" for share in recalls]
    return pd.DataFrame(columns)


def recalls(runs: Runs, test_set: str = "clean") -> pd.DataFrame:
    """Recall of each class on a whole test set as points to draw.

    Returns:
        DataFrame, one row a class and network: class, network, measured (0..1, mean over seeds), low, high (95 %
        interval); networks that were not run and classes without images are left out.
    """
    rows = []
    for name, run in runs.first().items():
        counts = np.bincount(run.labels(test_set), minlength=len(CLASSES))
        for label, share, images in zip(CLASSES, runs.recalls(name, test_set), counts):
            if images:
                rows.append((label, runs.label(name), share, *evaluation.accuracy_interval(share, images)))
    return pd.DataFrame(rows, columns=["class", "network", "measured", "low", "high"])


def seed_spreads(runs: Runs) -> pd.DataFrame:
    """How far apart the seeds of a network lie, pooled over the networks that have several.

    Returns:
        DataFrame, one row a whole test set: test set; standard deviation between seeds of the accuracy, and of the loss
        as a share of its mean; degrees of freedom.
    """
    several = [name for name, seeds in runs.items() if len(seeds) > 1]
    degrees, rows = sum(len(runs[name]) - 1 for name in several), []
    for test_set in TEST_SETS if several else ():
        accuracies, losses = (
            [runs.per_image(name, test_set, metric).mean(axis=1) for name in several] for metric in DIGITS
        )
        apart = [of_seeds - of_seeds.mean() for of_seeds in accuracies], [of / of.mean() - 1 for of in losses]
        accuracy, loss = (np.sqrt(np.sum(np.concatenate(part) ** 2) / degrees) for part in apart)
        rows.append((test_set, f"{accuracy:.3f}", f"{loss:.1%}", degrees))
    return pd.DataFrame(rows, columns=["test set", "accuracy", "loss", "degrees of freedom"])


def loss_tails(runs: Runs) -> pd.DataFrame:
    """How much of a mean loss few images carry.

    Returns:
        DataFrame, one row a whole test set and network (its first seed): test set, network, mean, median, capped mean
        (no loss above `evaluation.CAP`), 99th percentile, largest loss of an image, and the share of the sum that the
        one per cent of images with the largest losses carry.
    """
    rows = []
    for test_set, name in itertools.product(TEST_SETS, runs):
        cells = []
        if runs[name]:
            losses = np.sort(runs.per_image(name, test_set, "loss")[0])
            capped = np.minimum(losses, evaluation.CAP).mean()
            numbers = losses.mean(), np.median(losses), capped, np.quantile(losses, 0.99), losses[-1]
            share = losses[-max(1, len(losses) // 100) :].sum() / losses.sum()
            cells = [*(f"{number:,.2f}" for number in numbers), f"{share:.0%}"]
        rows.append((test_set, runs.label(name), *cells))
    header = "test set, network, mean, median, capped mean, 99th percentile, largest, share of the top 1 %"
    return _table(header, rows)


def calibration_table(runs: Runs) -> pd.DataFrame:
    """Loss, loss at two temperatures, calibration error and Brier score, of the first seed of each network.

    Returns:
        DataFrame, one row a whole test set and network: test set, network, temperature (fitted on validation images),
        loss, loss at it, ECE, ECE at it, Brier score; best temperature (for this test set, by its labels: a
        diagnostic), loss at best.
    """
    fitted = {name: (run, calibration.run_temperature(run)) for name, run in runs.first().items()}
    if not fitted:
        return runs.not_run(*runs)
    rows = []
    for test_set in TEST_SETS:
        for name, (run, temperature) in fitted.items():
            logits, labels = run.logits(test_set), run.labels(test_set)
            best = calibration.temperature(logits, labels)
            row = {"test set": test_set, "network": runs.label(name), "temperature": temperature}
            for measure, column in ((evaluation.cross_entropy, "loss"), (calibration.calibration_error, "ECE")):
                row |= {column: measure(logits, labels), f"{column} at it": measure(logits / temperature, labels)}
            row |= {"Brier score": calibration.brier(logits, labels), "best temperature": best}
            rows.append({**row, "loss at best": evaluation.cross_entropy(logits / best, labels)})
    return pd.DataFrame(rows)


def public_and_private(runs: Runs) -> pd.DataFrame:
    """The split that the report tested on beside the one that nobody chose anything by.

    Returns:
        DataFrame, one row a network (its first seed): network, accuracy on PublicTest and on PrivateTest, difference
        (private minus public), its 95 % interval (of two independent shares, by Newcombe's method), loss on both.
    """
    rows = []
    for name in runs:
        cells = []
        if runs[name]:
            scores = runs[name][0].metrics.set_index("test_set")
            public, private = scores.loc["clean"], scores.loc["private"]
            low, high = evaluation.difference_interval(private.accuracy, private.n, public.accuracy, public.n)
            cells = [f"{public.accuracy:.3f}", f"{private.accuracy:.3f}", f"{private.accuracy - public.accuracy:+.3f}"]
            cells += [f"{low:+.3f} to {high:+.3f}", f"{public.loss:.2f}", f"{private.loss:.2f}"]
        rows.append((runs.label(name), *cells))
    accuracies = "PublicTest accuracy, PrivateTest accuracy, difference, 95 % interval"
    return _table(f"network, {accuracies}, PublicTest loss, PrivateTest loss", rows)


def sections_and_whole(runs: Runs) -> pd.DataFrame:
    """How far the report's fifth of the test images lies from the whole: the same distortion, the same networks.

    Returns:
        DataFrame, one row a distortion: distortion, images in the section, networks (of all seeds), section minus whole
        in accuracy: mean over the networks, least, most; and the standard error of one such difference, by chance alone
        (a section drawn at random without replacement, at the mean accuracy; a distortion that is drawn anew for the
        section makes it a little larger).
    """
    scores = [run.metrics.set_index(["test_set", "layout"]) for seeds in runs.values() for run in seeds]
    rows = []
    for name in distortions.NAMES:
        cells = []
        if scores:
            whole, section = (np.array([of.accuracy[name, part] for of in scores]) for part in ("whole", "section"))
            n, total = (scores[0].n[name, part] for part in ("section", "whole"))
            share, distances = whole.mean(), section - whole
            cells = [f"{distance:+.3f}" for distance in (distances.mean(), distances.min(), distances.max())]
            cells = [n, len(scores), *cells, math.sqrt(share * (1 - share) * (1 / n - 1 / total))]
        rows.append((name, *cells))
    return _table("distortion, images, networks, mean difference, least, most, standard error by chance", rows)


def accuracy_without(runs: Runs, dataset: Dataset) -> pd.DataFrame:
    """Clean accuracy on all test images, on those whose pixels do not occur in training, and on those that do.

    Args:
        dataset: the one that the networks were trained and tested on.

    Returns:
        DataFrame, one row a network (its first seed) and split: network, test split, accuracy, images that Training
        lacks, accuracy on these, difference, accuracy on the others (NaN where there are none).
    """
    images, rows = duplicates.find(dataset), []
    for name, (test_set, split) in itertools.product(runs, {"clean": "public", "private": "private"}.items()):
        cells = []
        if runs[name]:
            hits = runs.per_image(name, test_set, "accuracy")[0]
            known = duplicates.in_training(images, split)
            new, others = hits[~known], hits[known].mean() if known.any() else np.nan
            cells = [hits.mean(), len(new), new.mean(), new.mean() - hits.mean(), others]
        rows.append((runs.label(name), test_set, *cells))
    left = "images that training lacks, accuracy on these, difference, accuracy on the others"
    return _table(f"network, test set, accuracy, {left}", rows)


def _table(header: str, rows: list[tuple]) -> pd.DataFrame:
    """A table with these columns; what a row lacks at its end was not run."""
    columns = header.split(", ")
    return pd.DataFrame([(*row, *[NOT_RUN] * (len(columns) - len(row))) for row in rows], columns=columns)


def _reported(name: str, metric: str) -> str:
    """The report's number on clean test images."""
    numbers = by_network()[metric]
    return f"{numbers[name, 'clean']:.{DIGITS[metric]}f}" if (name, "clean") in numbers else NOT_PUBLISHED


def _level(runs: Runs, line) -> str:
    """What a published line's network is called beside the others of its table."""
    return runs.label(line.experiment) if line.factor == "model" else line.level + runs.schedule(line.experiment)


def six(runs: Runs, name: str) -> pd.DataFrame:
    """An experiment that was run on the report's six test sets, in its layout: the rows of `Runs.scores`."""
    scores = runs.scores(name)
    return pd.DataFrame({test_set: in_layout(scores, test_set) for test_set in TEST_SETS}).T


def in_layout(scores: pd.DataFrame, test_set: str, distorted: str = "section") -> pd.Series:
    """The row of `Runs.scores` of a test set: of a distortion its section, as in the report, or the "whole"."""
    return scores.loc[(test_set, distorted if test_set in distortions.NAMES else "whole")]


def _span(low: float, high: float, digits: int) -> str:
    return "one image" if np.isnan(low) else f"{low:.{digits}f} to {high:.{digits}f}"
