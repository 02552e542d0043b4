"""An experiment and a dataset go in, a run in the store comes out."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from ferhelpers import backend, distortions, evaluation, gradcam, models, robust
from ferhelpers.data import CLASSES, Dataset, Split, pictures
from ferhelpers.environment import environment
from ferhelpers.experiments import Experiment, with_seeds
from ferhelpers.files import read_sealed, write_atomically, write_json, write_sealed, writing
from ferhelpers.progress import duration
from ferhelpers.runs import FORMAT, MANIFEST, Predictions, Run, Runs
from ferhelpers.store import Store

VALIDATION_SHARES = {"separate": 0.15, "by_image": 0.15, "twentieth": 0.05}  # of Training; report section 3
PREDICTION_BATCH = 256
FLOAT16 = (-65504, 65504)  # its range: a logit outside (NaN apart) is as sure there as anywhere


def train_all(
    experiments: dict[str, Experiment],
    dataset: Dataset,
    store: Store,
    seeds: int = 1,
    progress: Callable[[str], None] = print,
) -> Runs:
    """Train what is not in the store yet, each experiment with `seeds` seeds (its own and the following ones).

    Processes that do this in one folder share the work: each takes the next training that nobody holds, and waits for
    the others when none is left.

    Args:
        experiments: name -> Experiment.
        seeds: runs an experiment.
        progress: called with one line of text an epoch.
    """
    asked = with_seeds(experiments, seeds)
    for name, experiment in asked:
        with suppress(Held):
            train(experiment, dataset, store, name, progress, wait=False)
    runs = Runs({name: [] for name in experiments})
    for name, experiment in asked:
        runs[name].append(train(experiment, dataset, store, name, progress))
    return runs


class Held(Exception):  # noqa: N818 (it is no error)
    """Another process is training this run."""


def train(
    experiment: Experiment,
    dataset: Dataset,
    store: Store,
    name: str = "",
    progress: Callable[[str], None] = print,
    wait: bool = True,
) -> Run:
    """Train one experiment, or find it in the store; a training that was cut off goes on from its last finished epoch.

    Adam with the old Keras time decay, categorical cross-entropy on the logits (report 6.1.1); with a recipe, the
    optimiser and loss of `robust`. The order of the images, dropout and augmentation of an epoch depend on (seed,
    epoch) alone, so a resumed training is the undisturbed one.

    Args:
        name: what progress lines call it.
        progress: called with one line of text an epoch.
        wait: for another process that trains it.

    Raises:
        Held: another process trains it, and `wait` is False.
    """
    fingerprint = dataset.fingerprint
    if run := store.find(experiment, fingerprint):
        return run
    name = name or experiment.slug

    def say(text: str) -> None:
        progress(f"{name}: {text}")

    def held() -> None:
        if not wait:
            raise Held
        say("waiting for another process that trains it")

    with store.lock(experiment, fingerprint, held):
        return store.find(experiment, fingerprint) or _train(experiment, dataset, store, say)


def training_and_validation(experiment: Experiment, dataset: Dataset) -> tuple[Split, Split]:
    """The images that an experiment is trained and validated on (report 5.3, 6.1.3).

    "separate": 15 % of Training, rounded up, stratified by class, the same for every experiment and seed, and the
    rest. They are drawn from the images that occur once in Training, so that none is also trained on;
    "twentieth": the same, but 5 %;
    "by_image": the same, drawn from all images;
    "test": all of Training, and PublicTest.
    """
    training = dataset.training
    if experiment.validation == "test":
        return training, dataset.public
    drawn_from = np.arange(len(training))
    if experiment.validation != "by_image":
        drawn_from = drawn_from[~pd.Series(pictures(training.images)).duplicated(keep=False)]
    share = VALIDATION_SHARES[experiment.validation]
    labels = training.labels[drawn_from]
    stratify = labels if _all_on_both_sides(labels, share) else None
    _, held = train_test_split(
        drawn_from, test_size=math.ceil(share * len(training)), random_state=0, stratify=stratify
    )
    return training.take(np.setdiff1d(np.arange(len(training)), held)), training.take(np.sort(held))


def build(experiment: Experiment, images: int = 0) -> keras.Model:
    """The experiment's network, freshly initialised from its seed, compiled with its optimiser and loss.

    Args:
        images: how many it is trained on; only a cosine depends on it.
    """
    precision = experiment.precision
    if precision == "auto":
        precision = backend.best_precision(depthwise="efficientnet" in experiment.architecture)
    backend.settle()
    keras.utils.clear_session()
    keras.utils.set_random_seed(experiment.seed)
    rate = _rate(experiment, images)
    if experiment.recipe:
        optimiser, loss = robust.optimiser(experiment.recipe, rate), robust.loss(experiment.recipe)
    else:
        optimiser, loss = keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with models.precision(precision):
        model = models.build(experiment)
        model.compile(
            optimiser,
            loss,
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=backend.jit_compile(),
        )
    model.optimizer.build(model.trainable_variables)
    return model


def _rate(experiment: Experiment, images: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate by step."""
    schedules = keras.optimizers.schedules
    if experiment.annealing == "none":
        return schedules.InverseTimeDecay(experiment.learning_rate, 1, experiment.decay)
    steps = experiment.epochs * math.ceil(images / experiment.batch_size)
    rising = math.ceil(steps / 20)
    return schedules.CosineDecay(
        0.0, max(1, steps - rising), warmup_target=experiment.learning_rate, warmup_steps=rising
    )


def predict(model: keras.Model, images: np.ndarray, views: bool = False) -> np.ndarray:
    """Logits, float32 (N, 7), of uint8 images (N, 48, 48).

    Args:
        views: give the mean over the four `robust.views` of each image.
    """
    if views:
        return np.mean([predict(model, view) for view in robust.views(images)], axis=0)
    return np.asarray(model.predict(images[..., None], batch_size=PREDICTION_BATCH, verbose=0), dtype="float32")


def _train(experiment: Experiment, dataset: Dataset, store: Store, say: Callable[[str], None]) -> Run:
    """Fit, evaluate, and write the run."""
    folder = store.path(experiment, dataset.fingerprint)
    for leftover in folder.glob(".*"):  # of a process that was killed while it wrote
        leftover.unlink()
    if (folder / MANIFEST).exists():
        say("the run in the store was written by another version of the code; training it anew")
        (folder / MANIFEST).unlink()
    training, validation = training_and_validation(experiment, dataset)
    model = build(experiment, len(training))
    history = fit(model, experiment, training, validation, folder / "checkpoint", say)
    chosen = [int(np.argmax(dataset.public.labels == c)) for c in range(len(CLASSES)) if c in dataset.public.labels]
    predictions, maps = _evaluate(model, experiment, dataset, validation, chosen)
    config = {
        "format": FORMAT,
        "experiment": experiment.content(),
        "key": experiment.key(dataset.fingerprint),
        "command": store.command,
        "data": {**dataset.provenance, "fingerprint": dataset.fingerprint},
        "environment": environment(model.layers[-2].dtype_policy.name),
        "parameters": model.count_params(),
        "chosen": chosen,
    }
    return _write(folder, config, history, predictions, maps, model)


def fit(
    model: keras.Model,
    experiment: Experiment,
    training: Split,
    validation: Split,
    checkpoint: Path,
    say: Callable[[str], None],
) -> list[dict]:
    """Train from the last checkpoint to the last epoch; the history, one row an epoch."""
    train_epoch = backend.epoch_function(model, training.labels, experiment.batch_size)
    history = []
    if checkpoint.exists():
        history = _restore(checkpoint, model)
        going_on = f"going on after epoch {len(history)}/{experiment.epochs}"
        say(going_on if history else "the checkpoint is damaged or of other code; starting anew")
    for epoch in range(len(history) + 1, experiment.epochs + 1):
        start = time.perf_counter()
        _reseed(model, experiment.seed, epoch)
        images = training.images
        if experiment.recipe:
            images = robust.training_images(images, experiment.recipe, (experiment.seed, epoch))
        order = np.random.default_rng([experiment.seed, epoch]).permutation(len(training))
        means = train_epoch(images[..., None], order)
        logits = predict(model, validation.images)
        history.append(
            {
                "epoch": epoch,
                "loss": means["loss"],
                "accuracy": means["accuracy"],
                "val_loss": evaluation.cross_entropy(logits, validation.labels),
                "val_accuracy": evaluation.accuracy(logits, validation.labels),
                "seconds": round(time.perf_counter() - start, 2),
            }
        )
        _save(checkpoint, model, history)
        say(_line(experiment.epochs, history))
    return history


def _evaluate(
    model: keras.Model, experiment: Experiment, dataset: Dataset, validation: Split, chosen: list[int]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The arrays of predictions.npz, and those of gradcam.npz: heat maps on the `chosen` public images."""
    more = robust.test_sets(dataset, validation) if experiment.recipe else distortions.noise_sets(dataset)
    test_sets = {**distortions.test_sets(dataset), **more, "validation": validation}
    images = np.concatenate([split.images for split in test_sets.values()])
    logits = predict(model, images, views=experiment.recipe is not None)
    logits = np.clip(logits, *FLOAT16).astype("float16")
    ends = np.cumsum([len(split) for split in test_sets.values()])
    predictions = dict(zip(test_sets, np.split(logits, ends[:-1]), strict=True))
    for name, split in (("public", dataset.public), ("private", dataset.private), ("validation", validation)):
        predictions[f"labels/{name}"] = split.labels
    maps = {}
    for test_set in ("clean", "occlusion") if experiment.architecture in ("cnn", "resnet") else ():
        for layer, heat in gradcam.heatmaps(model, test_sets[test_set].images[chosen]).items():
            maps[f"{test_set}/{layer}"] = heat.astype("float16")
    return predictions, maps


def _write(folder: Path, config: dict, history: list[dict], predictions: dict, maps: dict, model: keras.Model) -> Run:
    """Write the files of a run, and its manifest last; then the checkpoint goes."""
    write_json(folder / "config.json", config)
    write_atomically(folder / "history.csv", lambda file: pd.DataFrame(history).to_csv(file, index=False))
    write_atomically(folder / "predictions.npz", lambda file: np.savez_compressed(file, **predictions))
    write_json(folder / "metrics.json", evaluation.scores(Predictions(predictions)).to_dict("records"))
    write_atomically(folder / "gradcam.npz", lambda file: np.savez_compressed(file, **maps))
    with writing(folder / "model.keras"):
        model.save(folder / "model.keras")
    run = Store.seal(folder)
    (folder / "checkpoint").unlink(missing_ok=True)
    return run


def _all_on_both_sides(labels: np.ndarray, share: float) -> bool:
    """Whether every class is large enough to be in both parts of a split (in tiny subsets some are not)."""
    return np.bincount(labels)[np.unique(labels)].min() >= math.ceil(1 / share)


def _reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Make this epoch's random numbers (dropout, augmentation) depend on nothing but the seed and the epoch."""
    generators = [layer.seed_generator for layer in model.layers if hasattr(layer, "seed_generator")]
    for number, generator in enumerate(generators):
        state = np.random.SeedSequence([seed, epoch, number]).generate_state(2) >> 1
        generator.state.assign(state)


def _state(model: keras.Model) -> list:
    return [*model.variables, *model.optimizer.variables]


def _save(path: Path, model: keras.Model, history: list[dict]) -> None:
    arrays = {f"{number:04d}": np.asarray(variable) for number, variable in enumerate(_state(model))}
    buffer = io.BytesIO()
    np.savez(buffer, made=json.dumps({"format": FORMAT, "history": history}), **arrays)
    write_sealed(path, buffer.getvalue())


def _restore(path: Path, model: keras.Model) -> list[dict]:
    """Set the model to its checkpoint; the history, which is empty if that is damaged or of other code."""
    content = read_sealed(path)
    if content is None:
        return []
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    made = json.loads(str(arrays.pop("made", "{}")))
    shapes = [tuple(variable.shape) for variable in _state(model)]
    if made.get("format") != FORMAT or [array.shape for array in arrays.values()] != shapes:
        return []
    for variable, array in zip(_state(model), arrays.values(), strict=True):
        variable.assign(array)
    return made["history"]


def _line(epochs: int, history: list[dict]) -> str:
    row = history[-1]
    left = (epochs - row["epoch"]) * np.mean([past["seconds"] for past in history[-5:]])
    return (
        f"epoch {row['epoch']}/{epochs}  loss {row['loss']:.3f}  accuracy {row['accuracy']:.3f}  "
        f"val_loss {row['val_loss']:.3f}  val_accuracy {row['val_accuracy']:.3f}  {duration(row['seconds'])}"
        + (f", {duration(left)} left" if left else "")
    )
