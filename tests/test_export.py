import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from ferhelpers import export, models, photo, shipped, training
from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment

pytestmark = pytest.mark.slow

NETWORKS = {
    "report": Experiment(blocks=2, width=0.1, augmentation=True),
    "without normalisation": Experiment(blocks=1, width=0.1, normalisation=False),
    "listing": Experiment(width=0.1, wiring="listing", scale="byte"),
    "EfficientNet-Lite0": Experiment(architecture="efficientnet_lite0"),
    "EfficientNetB0": Experiment(architecture="efficientnetb0"),
}


@pytest.fixture
def images(faces):
    return faces.public.images[:4]


@pytest.mark.parametrize("network", NETWORKS)
def test_the_plain_network_gives_the_same_logits_and_has_no_layer_of_ours(network, images):
    model = training.build(NETWORKS[network])
    with models.precision("float32"):
        same = models.build(NETWORKS[network])
    same.set_weights(model.get_weights())
    plain = export.plain(model)
    np.testing.assert_allclose(training.predict(plain, images), training.predict(same, images), rtol=1e-4, atol=1e-4)
    assert not [layer for layer in plain.layers if type(layer).__module__.startswith("ferhelpers")]
    assert {layer.dtype_policy.name for layer in plain.layers} == {"float32"}


def test_the_keras_file_loads_without_the_package(images, tmp_path):
    assert export.main([str(tmp_path / "network.keras")]) == 0
    assert "ferhelpers" not in zipfile.ZipFile(tmp_path / "network.keras").read("config.json").decode()
    np.save(tmp_path / "images.npy", images[..., None])
    script = (
        "import sys; sys.modules['ferhelpers'] = None\n"
        "import keras, numpy\n"
        "model = keras.saving.load_model('network.keras')\n"
        "numpy.save('logits.npy', model.predict(numpy.load('images.npy'), verbose=0))"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(
        np.load(tmp_path / "logits.npy"), training.predict(shipped.load(), images), rtol=1e-4, atol=1e-4
    )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="ONNX is written on TensorFlow")
@pytest.mark.parametrize("network", [None, "report", "EfficientNet-Lite0"])
def test_onnx_gives_the_same_logits(network, images, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    model = export.plain(training.build(NETWORKS[network])) if network else shipped.load()
    export.write(model, tmp_path / "network.onnx")
    session = runtime.InferenceSession(tmp_path / "network.onnx")
    (logits,) = session.run(None, {session.get_inputs()[0].name: images[..., None].astype("float32")})
    np.testing.assert_allclose(logits, training.predict(model, images), rtol=1e-4, atol=1e-4)


def test_another_ending_is_refused(tmp_path, capsys):
    assert export.main([str(tmp_path / "network.h5")]) == 2
    assert "a network is written as .onnx or .keras" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert export.main([str(tmp_path / "file" / "network.keras")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    for file in shipped.FOLDER.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "robust.npz").write_bytes((tmp_path / "robust.npz").read_bytes()[:-1])
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    photo.network.cache_clear()
    with pytest.raises(InputError, match=r"robust\.npz is missing or damaged"):
        photo.network()
    (tmp_path / "robust.npz").unlink()
    with pytest.raises(InputError, match=r"robust\.npz is missing or damaged"):
        photo.network()


def test_missing_tf2onnx_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install '.\[export\]'"):
        export.write(shipped.load(), tmp_path / "network.onnx")
