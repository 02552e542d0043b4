"""A process of its own for test_backends.py, on the backend of KERAS_BACKEND: fixed batches, and a stored run."""

import sys

import numpy as np

from ferhelpers import backend, data, training
from ferhelpers.experiments import Experiment, Settings, robust_training
from ferhelpers.store import Store

SMALL = Experiment(blocks=2, width=0.1, epochs=1, batch_size=32, augmentation=True)
ROBUST = robust_training(Settings(robust_epochs=1, robust_width=0.1))["robust_general"]


def main(weights, output, store):
    """Eight batches from given weights, without chance; then two whole trainings."""
    faces = data.load("builtin").subset(0.15)
    model = training.build(Experiment(blocks=2, width=0.1, dropout=0.0, precision="float32"))
    with np.load(weights, allow_pickle=False) as file:
        model.set_weights([file[name] for name in file.files])
    train = backend.epoch_function(model, faces.training.labels, 32)
    before = training.predict(model, faces.public.images)
    losses = [train(faces.training.images[..., None], np.arange(step, step + 32))["loss"] for step in range(0, 256, 32)]
    np.savez(output, before=before, losses=losses, after=training.predict(model, faces.public.images))
    for experiment in (SMALL, ROBUST):
        training.train(experiment, faces, Store(store))


if __name__ == "__main__":
    main(*sys.argv[1:])
