"""A process of its own for test_backends.py: eight fixed batches from given weights, on the backend that KERAS_BACKEND names."""

import sys

import numpy as np

from ferhelpers import backend, data, training
from ferhelpers.experiments import Experiment


def main(weights, output):
    faces = data.load("builtin").subset(0.15)
    model = training.build(Experiment(blocks=2, width=0.1, dropout=0.0, precision="float32"))
    with np.load(weights, allow_pickle=False) as file:
        model.set_weights([file[name] for name in file.files])
    train = backend.epoch_function(model, faces.training.images[..., None], faces.training.labels, 32)
    before = training.predict(model, faces.public.images)
    losses = [train(np.arange(step, step + 32))["loss"] for step in range(0, 256, 32)]
    np.savez(output, before=before, losses=losses, after=training.predict(model, faces.public.images))


main(*sys.argv[1:])
