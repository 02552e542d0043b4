"""The only module that talks to TensorFlow or JAX directly: epochs, fused operations, gradients, hardware, precision.

Everything else is Keras 3 code that runs on either. The backend is chosen by `KERAS_BACKEND` before Keras is imported.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import ops

from ferhelpers import environment


def settle() -> None:
    """Set what numbers depend on as the study needs it, whatever a keras.json or a notebook's cell has set."""
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", False)


def fused_batch_normalisation(x, scale, offset, mean, variance, epsilon: float, training: bool) -> tuple | None:
    """Batch normalisation over the last axis in one kernel, in the dtype of `x` with float32 statistics.

    Args:
        x: (N, H, W, C) float32, bfloat16 or float16.
        scale, offset, mean, variance: (C,) float32; `mean` and `variance` are used only when not training.

    Returns:
        (outputs as `x`, batch mean (C,), batch variance (C,) over the population), or None where the backend has no
        such kernel. The last two are meaningless when not training.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    scale, offset, mean, variance = (tf.convert_to_tensor(v) for v in (scale, offset, mean, variance))
    statistics = (tf.zeros([0]), tf.zeros([0])) if training else (mean, variance)
    outputs, batch_mean, batch_variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=scale,
        offset=offset,
        mean=statistics[0],
        variance=statistics[1],
        epsilon=epsilon,
        is_training=training,
    )
    # The kernel returns the variance over n - 1; Keras' moving variance is that over n.
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
    return outputs, batch_mean, batch_variance * (count - 1) / count


def epoch_function(
    model: keras.Model, labels: np.ndarray, batch_size: int
) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    """Training by whole epochs, one dispatch each: the data set lives on the device, no Python runs between two steps.

    Args:
        model: compiled keras.Model, its optimiser built.
        labels: of the training images, (N,).
        batch_size: images a step; the last step of an epoch takes what is left.

    Returns:
        function: images (N, ...), which stay uint8 until the network casts them, and their order, integers (M,) ->
        {"loss", "accuracy", ...}, means over the epoch. It runs Keras' own `train_step` and updates the model's
        variables.
    """
    nothing = np.zeros((1, *model.outputs[0].shape[1:]), "float32")
    model.compute_metrics(None, labels[:1], nothing)  # Keras builds them on first use
    make = {"tensorflow": _tensorflow_epoch, "jax": _jax_epoch}[keras.backend.backend()]
    train = make(model, labels, batch_size)

    def epoch(images, order):
        model.reset_metrics()
        train(images, np.asarray(order, "int32"))
        return {name: float(value) for name, value in model.get_metrics_result().items()}

    return epoch


def inference(model: keras.Model) -> Callable[[np.ndarray], object]:
    """The network as one compiled function: images (N, 48, 48, 1) -> logits (N, 7), an array of the backend."""
    if keras.backend.backend() == "jax":
        import jax

        state = (
            [variable.value for variable in model.trainable_variables],
            [variable.value for variable in model.non_trainable_variables],
        )
        function = jax.jit(lambda images: model.stateless_call(*state, images, training=False)[0])
    else:
        import tensorflow as tf

        function = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    return lambda images: function(ops.convert_to_tensor(images, "float32"))


def _tensorflow_epoch(model, labels, batch_size):
    import tensorflow as tf

    labels = tf.constant(labels)

    @tf.function(jit_compile=model.jit_compile)
    def step(images, batch):
        model.train_step((tf.gather(images, batch), tf.gather(labels, batch)))

    @tf.function(reduce_retracing=True)
    def steps(images, order):
        for start in tf.range(0, tf.size(order), batch_size):
            step(images, order[start : start + batch_size])

    def epoch(images, order):
        steps(tf.constant(images), tf.constant(order))

    return epoch


def _jax_epoch(model, labels, batch_size):
    import jax

    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )

    @functools.partial(jax.jit, donate_argnums=0)
    def steps(state, order, data):
        def step(state, batch):
            _, state = model.train_step(state, jax.tree.map(lambda array: array[batch], data))
            return state, None

        whole = len(order) - len(order) % batch_size
        state, _ = jax.lax.scan(step, state, order[:whole].reshape(-1, batch_size))
        return step(state, order[whole:])[0] if whole < len(order) else state

    def epoch(images, order):
        state = steps(tuple([variable.value for variable in group] for group in groups), order, (images, labels))
        for group, values in zip(groups, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)

    return epoch


def jit_compile() -> bool | str:
    """Whether Keras should compile with XLA: not on TensorFlow's CPU, where it is several times slower."""
    return False if keras.backend.backend() == "tensorflow" and not _gpus() else "auto"


def best_precision(depthwise: bool = False) -> str:
    """The fastest precision that this hardware computes in: bfloat16, float16 on GPUs before Ampere, else float32.

    Args:
        depthwise: the network has depthwise convolutions (EfficientNet); TensorFlow's are slower in bfloat16 on a CPU.
    """
    capabilities = [capability for _, capability in _gpus()]
    if capabilities:
        return "mixed_bfloat16" if min(capabilities) >= 8.0 else "mixed_float16"
    if keras.backend.backend() == "jax":  # XLA's bfloat16 convolutions are slower than float32 on a CPU
        return "float32"
    return (
        "mixed_bfloat16"
        if {"avx512_bf16", "amx_bf16"} & set(_cpu_info("flags").split()) and not depthwise
        else "float32"
    )


def machine() -> dict:
    """What the numbers were computed on: processor, cores and GPUs (names as the backend gives them)."""
    return {
        "processor": _cpu_info("model name") or platform.processor() or platform.machine(),
        "cores": environment.cores(),
        "gpus": [name for name, _ in _gpus()],
    }


def _gpus() -> list[tuple[str, float]]:
    """(name, compute capability) of every GPU that the backend sees."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = []
        for gpu in tf.config.list_physical_devices("GPU"):
            details = tf.config.experimental.get_device_details(gpu)
            major, minor = details.get("compute_capability", (0, 0))
            gpus.append((details.get("device_name", gpu.name), major + minor / 10))
        return gpus
    import jax

    return [
        (device.device_kind, float(getattr(device, "compute_capability", None) or 0))
        for device in jax.devices()
        if device.platform in ("gpu", "cuda", "rocm")
    ]


def _cpu_info(field: str) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")


def gradient(function: Callable, arguments: list) -> tuple[list, object]:
    """Differentiate a function of several arrays.

    Args:
        function: list of arrays -> (scalar to differentiate, anything else that it computed on the way).
        arguments: the arrays at which, and by which, to differentiate.

    Returns:
        (list of gradients, shaped like `arguments`, zero where the scalar does not depend on one; that anything else).
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function, has_aux=True)(arguments)
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(arguments)
        scalar, extra = function(arguments)
    return tape.gradient(scalar, arguments, unconnected_gradients=tf.UnconnectedGradients.ZERO), extra
