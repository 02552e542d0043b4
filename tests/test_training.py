"""Training is the report's, is done once, can be cut off at any epoch, and leaves a run that is read back whole."""

import dataclasses
import errno
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pandas as pd
import pytest

from ferhelpers import data, distortions, evaluation, training
from ferhelpers.data import Dataset, Split
from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment
from ferhelpers.files import write_json
from ferhelpers.runs import Run
from ferhelpers.store import Results, Store

pytestmark = pytest.mark.slow

TINY = Experiment(blocks=1, width=0.05, epochs=3, batch_size=32, learning_rate=1e-3, precision="float32")


def silent(line):
    pass


@pytest.fixture(scope="module")
def undisturbed(faces, tmp_path_factory):
    experiment = dataclasses.replace(TINY, augmentation=True)
    return training.train(experiment, faces, Store(tmp_path_factory.mktemp("runs"), command="a test"), progress=silent)


def test_training_equals_a_plain_loop(faces, tmp_path):
    """The tutorial's way, written out: shuffle, cut into batches, one step of Adam each, at the old decaying rate."""
    experiment = dataclasses.replace(TINY, dropout=0.0, decay=0.05, epochs=2)
    run = training.train(experiment, faces, Store(tmp_path), progress=silent)

    kept, _ = training.training_and_validation(experiment, faces)
    model = training.build(experiment)
    start = model.get_weights()
    optimiser = keras.optimizers.Adam(experiment.learning_rate)
    model.compile(optimiser, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    model.set_weights(start)
    step = 0
    for epoch in (1, 2):
        order = np.random.default_rng([experiment.seed, epoch]).permutation(len(kept))
        for first in range(0, len(order), experiment.batch_size):
            batch = order[first : first + experiment.batch_size]
            optimiser.learning_rate = experiment.learning_rate / (1 + experiment.decay * step)
            model.train_on_batch(kept.images[batch][..., None].astype("float32"), kept.labels[batch])
            step += 1
    expected = model.predict(faces.public.images[..., None], verbose=0)
    np.testing.assert_allclose(run.logits("clean"), expected, rtol=2e-3, atol=2e-3)


def test_a_training_that_was_cut_off_ends_with_the_same_numbers(faces, undisturbed, tmp_path):
    def cut_off(line):
        if "loss" in line:
            raise KeyboardInterrupt

    experiment = dataclasses.replace(TINY, augmentation=True)
    store, lines = Store(tmp_path), []
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            training.train(experiment, faces, store, progress=cut_off)
        assert store.find(experiment, faces.fingerprint) is None
    run = training.train(experiment, faces, store, progress=lines.append)
    assert [line.split("  ")[0] for line in lines[1:]] == [f"{experiment.slug}: epoch 3/3"]
    for test_set in (*distortions.test_sets(faces), "validation"):
        np.testing.assert_array_equal(run.logits(test_set), undisturbed.logits(test_set))
    columns = ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    np.testing.assert_array_equal(run.history[columns], undisturbed.history[columns])
    assert not (run.folder / "checkpoint").exists()


@pytest.mark.parametrize("damage", ["torn", "one byte", "empty", "of another network", "of another format"])
def test_a_damaged_checkpoint_is_named_and_the_training_starts_anew(faces, undisturbed, tmp_path, monkeypatch, damage):
    experiment = dataclasses.replace(TINY, augmentation=True)
    store, lines = Store(tmp_path), []

    def cut_off(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), monkeypatch.context() as patch:
        patch.setattr(training, "FORMAT", 0 if damage == "of another format" else training.FORMAT)
        training.train(experiment, faces, store, progress=cut_off)
    checkpoint = store.path(experiment, faces.fingerprint) / "checkpoint"
    content = bytearray(checkpoint.read_bytes())
    if damage == "of another network":
        training._save(checkpoint, training.build(dataclasses.replace(experiment, blocks=2)), [{"epoch": 1}])
    elif damage != "of another format":
        content[len(content) // 2] ^= 1
        checkpoint.write_bytes({"torn": content[:5000], "one byte": content, "empty": b""}[damage])
    (checkpoint.parent / ".checkpoint-killed").write_bytes(b"what a killed process left")
    run = training.train(experiment, faces, store, progress=lines.append)
    assert lines[0] == f"{experiment.slug}: the checkpoint is damaged or of other code; starting anew"
    assert len(lines) == 4
    np.testing.assert_array_equal(run.logits("clean"), undisturbed.logits("clean"))
    assert not list(checkpoint.parent.glob(".*"))


def test_a_run_of_another_format_is_trained_anew_or_refused(faces, undisturbed, tmp_path):
    experiment = dataclasses.replace(TINY, augmentation=True)
    store, lines = Store(tmp_path), []
    folder = store.path(experiment, faces.fingerprint)
    shutil.copytree(undisturbed.folder, folder)
    write_json(folder / "config.json", {**undisturbed.config, "format": 0})
    Store.seal(folder)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "runs").symlink_to(tmp_path)
    with pytest.raises(InputError, match="another version of the code"):
        Results(tmp_path / "results")
    run = training.train(experiment, faces, store, progress=lines.append)
    assert "written by another version of the code; training it anew" in lines[0] and len(lines) == 4
    np.testing.assert_array_equal(run.logits("clean"), undisturbed.logits("clean"))


def test_a_full_disk_is_one_line_and_the_next_call_goes_on(faces, undisturbed, tmp_path, monkeypatch):
    experiment = dataclasses.replace(TINY, augmentation=True)
    store, calls = Store(tmp_path), []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"cannot write .*checkpoint \(No space left on device\); make room"):
            training.train(experiment, faces, store, progress=silent)
    folder = store.path(experiment, faces.fingerprint)
    assert [path.name for path in folder.iterdir()] == ["checkpoint"]
    lines = []
    run = training.train(experiment, faces, store, progress=lines.append)
    assert "going on after epoch 2/3" in lines[0]
    np.testing.assert_array_equal(run.logits("clean"), undisturbed.logits("clean"))


def test_the_same_experiment_is_trained_once(faces, undisturbed):
    lines = []
    experiment = dataclasses.replace(TINY, augmentation=True)
    again = training.train(experiment, faces, Store(undisturbed.folder.parent), progress=lines.append)
    assert again.folder == undisturbed.folder and lines == []


def test_several_processes_in_one_folder_share_the_work(faces, tmp_path):
    store, lines = Store(tmp_path), []
    held, free = (dataclasses.replace(TINY, epochs=1, seed=seed) for seed in (0, 1))
    networks = {"held": held, "free": free}
    with ThreadPoolExecutor() as pool:
        with store.lock(held, faces.fingerprint, waiting=None):
            runs = pool.submit(training.train_all, networks, faces, store, progress=lines.append)
            while "held: waiting for another process that trains it" not in lines:
                assert not runs.done()
                time.sleep(0.1)
            assert store.find(free, faces.fingerprint) and not store.find(held, faces.fingerprint)
        assert [len(seeds) for seeds in runs.result().values()] == [1, 1]
    assert [line.split(":")[0] for line in lines] == ["free", "held", "held"]


def test_seeds_are_separate_runs_and_differ(faces, tmp_path):
    experiment = dataclasses.replace(TINY, epochs=1)
    runs = training.train_all({"network": experiment}, faces, Store(tmp_path), seeds=2, progress=silent)["network"]
    assert [run.config["experiment"]["seed"] for run in runs] == [0, 1]
    stored = Store(tmp_path).find_all({"network": experiment}, faces.fingerprint, seeds=3)["network"]
    assert [run.folder for run in stored] == [run.folder for run in runs]
    assert np.abs(runs[0].logits("clean") - runs[1].logits("clean")).max() > 0.01


def test_training_learns(faces, tmp_path):
    experiment = dataclasses.replace(TINY, width=0.25, dropout=0.0, epochs=30, learning_rate=3e-3)
    run = training.train(experiment, faces, Store(tmp_path), progress=silent)
    assert run.history.accuracy.iloc[-1] > 0.9  # of the training images, which it can memorise


def test_run_holds_what_the_study_shows(faces, undisturbed):
    sets = {**distortions.test_sets(faces), **distortions.noise_sets(faces)}
    for name, split in sets.items():
        assert undisturbed.logits(name).shape == (len(split), 7)
        np.testing.assert_array_equal(undisturbed.labels(name), split.labels)
    last = undisturbed.history.iloc[-1]
    logits, labels = undisturbed.logits("validation"), undisturbed.labels("validation")
    assert last.val_accuracy == pytest.approx(evaluation.accuracy(logits, labels))
    assert last.val_loss == pytest.approx(evaluation.cross_entropy(logits, labels), rel=1e-3)
    pd.testing.assert_frame_equal(undisturbed.metrics, evaluation.scores(undisturbed))
    clean = undisturbed.metrics.set_index("test_set").loc["clean"]
    assert clean["accuracy"] == evaluation.accuracy(undisturbed.logits("clean"), faces.public.labels)
    np.testing.assert_array_equal(faces.public.labels[undisturbed.chosen], np.unique(faces.public.labels))
    assert undisturbed.heatmaps("conv1_2", "occlusion").shape == (len(undisturbed.chosen), 48, 48)
    assert undisturbed.config["environment"]["precision"] == "float32"
    assert undisturbed.config["command"] == "a test"


def test_the_stored_network_gives_the_stored_logits(faces, undisturbed):
    logits = training.predict(undisturbed.model(), faces.public.images)
    np.testing.assert_allclose(logits, undisturbed.logits("clean"), rtol=2**-11, atol=1e-5)  # stored in float16


@pytest.mark.parametrize(
    "name", ["config.json", "history.csv", "predictions.npz", "gradcam.npz", "model.keras", "manifest.json"]
)
def test_one_changed_byte_is_noticed_and_named(faces, tmp_path, undisturbed, name):
    folder = tmp_path / "run"
    shutil.copytree(undisturbed.folder, folder)
    content = bytearray((folder / name).read_bytes())
    content[content.index(b"{") if name == "manifest.json" else len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is damaged"):
        run = Run(folder)
        run.history, run.logits("clean"), run.heatmaps("conv1_1"), run.model()


def keep(undisturbed, output, **changes):
    """A copy of a run among the runs of an output folder, as if its experiment had been another one."""
    folder = output / "runs" / "-".join(map(str, changes.values()))
    shutil.copytree(undisturbed.folder, folder)
    (folder / "model.keras").unlink()  # its weights need not be there
    write_json(
        folder / "config.json", {**undisturbed.config, "experiment": {**undisturbed.config["experiment"], **changes}}
    )
    Store.seal(folder)


def test_stored_results_are_what_is_asked_for_or_the_longest_with_all_seeds(faces, tmp_path, undisturbed):
    other_rate = {"epochs": 9, "seed": 3, "learning_rate": 0.3}
    asked_for = {"learning_rate": 0.5, "batch_size": 7}
    longest = {"epochs": 12, "seed": 1}
    kept = (
        {"epochs": 2},
        other_rate,
        {"epochs": 9, "seed": 5, **asked_for},
        {"epochs": 9, "seed": 3, **asked_for},
        longest,
        {"epochs": 99, "blocks": 4},
    )
    for changes in kept:
        keep(undisturbed, tmp_path, **changes)
    results = Results(tmp_path)
    asked = dataclasses.replace(TINY, augmentation=True, epochs=9, learning_rate=0.5, batch_size=7)
    wanted = {
        "known": asked,
        "other schedule": dataclasses.replace(asked, epochs=10),
        "unknown": dataclasses.replace(asked, dropout=0.1),
    }
    runs = results.find_all(wanted, faces.fingerprint)
    assert [run.config["experiment"]["seed"] for run in runs["known"]] == [3, 5] and runs["unknown"] == []
    assert {run.config["experiment"]["epochs"] for run in runs["known"]} == {9}
    assert [run.folder.name for run in runs["other schedule"]] == ["12-1"]
    np.testing.assert_array_equal(runs["known"][0].logits("clean"), undisturbed.logits("clean"))
    with pytest.raises(InputError, match="no run on these images"):
        results.find_all(wanted, "another fingerprint")


def test_stored_results_from_stored_weights_come_before_longer_ones_from_random_weights(faces, tmp_path, undisturbed):
    network = {"architecture": "efficientnetb0", "blocks": 5, "augmentation": False, "width": 1.0}
    for changes in ({"epochs": 20, "weights": "none", **network}, {"epochs": 2, "weights": "sha256:00", **network}):
        keep(undisturbed, tmp_path, **changes)
    asked = Experiment(architecture="efficientnetb0", weights="imagenet", dropout=TINY.dropout)
    (run,) = Results(tmp_path).find_all({"efficientnet": asked}, faces.fingerprint)["efficientnet"]
    assert run.config["experiment"]["weights"] == "sha256:00"


def test_results_without_runs_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no runs; give the output folder of an earlier run"):
        Results(tmp_path)


def numbered(counts):
    """A data set with these counts a class in each split, every image another one."""
    labels = np.repeat(np.arange(7, dtype="uint8"), counts)
    images = np.zeros((len(labels), 48, 48), "uint8")
    images[:, 0, :4] = np.arange(len(labels), dtype="<u4")[:, None].view("uint8")
    split = Split(images, labels)
    return Dataset(split, split, split, {"form": "made for a test"})


def test_validation_is_15_percent_rounded_up_and_stratified():
    """Report, section 3: 24,402 training and 4,307 validation images of FER-2013's class counts."""
    counts = [3995, 436, 4097, 7215, 4830, 3171, 4965]
    dataset = numbered(counts)
    kept, held = training.training_and_validation(Experiment(), dataset)
    assert (len(kept), len(held)) == (24402, 4307)
    np.testing.assert_allclose(np.bincount(held.labels), 0.15 * np.array(counts), atol=1)
    everything, public = training.training_and_validation(Experiment(validation="test"), dataset)
    assert (len(everything), len(public)) == (28709, 28709)


def copies(kept, held) -> int:
    """How many validation images have their pixels among the training images."""
    trained = {image.tobytes() for image in kept.images}
    return sum(image.tobytes() in trained for image in held.images)


@pytest.mark.skipif("FER2013" not in os.environ, reason="FER2013 names no data")
def test_no_validation_picture_of_fer_2013_is_trained_on():
    dataset = data.load(os.environ["FER2013"])
    sides = training.training_and_validation(Experiment(), dataset)
    assert [len(side) for side in sides] == [24402, 4307] and copies(*sides) == 0
    sides = training.training_and_validation(Experiment(validation="twentieth"), dataset)
    assert [len(side) for side in sides] == [27273, 1436] and copies(*sides) == 0
    assert copies(*training.training_and_validation(Experiment(validation="by_image"), dataset)) == 309


def test_a_cosine_rises_over_a_twentieth_of_the_steps_and_falls_to_zero():
    rate = training.build(
        dataclasses.replace(TINY, annealing="cosine", epochs=10, batch_size=10), images=96
    ).optimizer._learning_rate
    steps = np.array([float(rate(step)) for step in range(101)])  # 10 epochs of 10 steps
    np.testing.assert_allclose(steps[:6], 1e-3 * np.arange(6) / 5, atol=1e-9)
    np.testing.assert_allclose(steps[[5, 100]], [1e-3, 0], atol=1e-9)
    np.testing.assert_allclose(steps[5:], 1e-3 * (1 + np.cos(np.pi * np.arange(96) / 95)) / 2, atol=1e-9)


def test_validation_images_are_not_trained_on(faces):
    kept, held = training.training_and_validation(TINY, faces)
    joined = np.concatenate([kept.images, held.images])
    everything = faces.training.images
    assert len(joined) == len(everything)
    np.testing.assert_array_equal(np.sort(joined.sum((1, 2))), np.sort(everything.sum((1, 2))))
    assert not {image.tobytes() for image in kept.images} & {image.tobytes() for image in held.images}
