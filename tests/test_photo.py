import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import special

import ferhelpers
from ferhelpers import __main__ as command
from ferhelpers import backend, calibration, photo, training
from ferhelpers.errors import InputError
from ferhelpers.experiments import Experiment
from ferhelpers.store import Store

PHOTO = Path(__file__).parents[1] / "docs" / "astronaut.jpg"


@pytest.fixture(scope="module")
def pixels():
    return photo.read(PHOTO)


def grey(value, size=(40, 60)):
    return Image.new("L", size, value)


IMAGES = {  # a form of an image -> (how it is made, the value of its first pixel)
    "grey": (lambda path: grey(77).save(path / "a.png"), "a.png", (77, 77, 77)),
    "colour": (lambda path: Image.new("RGB", (9, 9), (10, 20, 30)).save(path / "a.png"), "a.png", (10, 20, 30)),
    "16 bits": (
        lambda path: Image.fromarray(np.full((9, 9), 257 * 50, np.uint16)).save(path / "a.png"),
        "a.png",
        (50, 50, 50),
    ),
    "32 bits": (
        lambda path: Image.fromarray(np.full((9, 9), 0.2, np.float32)).save(path / "a.tif"),
        "a.tif",
        (51,) * 3,
    ),
    "one bit": (lambda path: Image.new("1", (9, 9), 1).save(path / "a.png"), "a.png", (255, 255, 255)),
    "palette": (
        lambda path: Image.new("RGB", (9, 9), (0, 255, 0)).quantize(4).save(path / "a.gif"),
        "a.gif",
        (0, 255, 0),
    ),
    "CMYK": (lambda path: Image.new("CMYK", (9, 9), (0, 0, 0, 255)).save(path / "a.tif"), "a.tif", (0, 0, 0)),
    "transparent": (lambda path: Image.new("RGBA", (9, 9), (0, 0, 0, 0)).save(path / "a.png"), "a.png", (255,) * 3),
    "half transparent": (lambda path: Image.new("LA", (9, 9), (0, 128)).save(path / "a.png"), "a.png", (127, 127, 127)),
    "animated": (
        lambda path: grey(200).save(path / "a.gif", save_all=True, append_images=[grey(20), grey(30)]),
        "a.gif",
        (200, 200, 200),
    ),
    "one pixel": (lambda path: grey(5, (1, 1)).save(path / "a.png"), "a.png", (5, 5, 5)),
    "WebP": (lambda path: grey(64).save(path / "a.webp", lossless=True), "a.webp", (64, 64, 64)),
}


@pytest.mark.parametrize("form", IMAGES)
def test_every_form_of_an_image_is_read(form, tmp_path):
    make, name, first = IMAGES[form]
    make(tmp_path)
    read = photo.read(tmp_path / name)
    assert read.dtype == np.uint8 and read.shape[2] == 3
    np.testing.assert_allclose(read[0, 0], first, atol=1)


def test_a_photo_that_lies_on_its_side_is_turned(tmp_path):
    image = grey(0, (40, 20))
    image.paste(255, (0, 0, 5, 5))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    read = photo.read(tmp_path / "turned.png")
    assert read.shape == (40, 20, 3) and read[0, -1, 0] == 255 and read[0, 0, 0] == 0


ARRAYS = {
    "uint8": np.full((4, 4), 100, np.uint8),
    "uint16": np.full((4, 4), 100 * 257, np.uint16),
    "float, 0..255": np.full((4, 4), 100.0),
    "float": np.full((4, 4, 3), 100 / 255),
    "float, overshooting": np.where(np.arange(48).reshape(4, 4, 3) == 47, 1.02, 100 / 255),
    "int64": np.full((4, 4, 3), 100),
    "opaque": np.dstack([np.full((4, 4, 3), 100, np.uint8), np.full((4, 4), 255, np.uint8)]),
}


@pytest.mark.parametrize("form", ARRAYS)
def test_arrays_are_read(form):
    np.testing.assert_array_equal(photo.read(ARRAYS[form])[:3], np.full((3, 4, 3), 100))


WRONG = {
    "text": ("a.jpg", b"not an image", "no image that can be read, such as .jpg or .png"),
    "empty": ("a.png", b"", "no image that can be read, such as .jpg or .png"),
    "damaged": ("a.jpg", PHOTO.read_bytes()[:9000], "cannot be read"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_image_is_one_clear_line(kind, tmp_path):
    name, content, message = WRONG[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        photo.read(tmp_path / name)


@pytest.mark.parametrize("image", [None, 5, [1, 2], b"bytes"])
def test_other_types_are_refused(image):
    with pytest.raises(InputError, match="an image is a path, an open file, a PIL image or an array, not"):
        photo.read(image)


@pytest.mark.parametrize("values", [[[np.nan]], [[-1.0, 1.0]], [[-5]], [[1j]], [["a"]], [[None]]])
def test_arrays_of_other_values_are_refused(values):
    with pytest.raises(InputError, match="an image holds whole numbers from 0, or floats"):
        photo.read(np.array(values))


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (0, 4), (2, 4, 4, 3)])
def test_arrays_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match="an image is an array"):
        photo.read(np.zeros(shape, np.uint8))


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        photo.read(tmp_path / "missing.jpg")
    with pytest.raises(InputError, match="no image that can be read, such as .jpg or .png"):
        photo.read(tmp_path)


@pytest.mark.slow
def test_the_face_of_a_photo_is_found_where_it_is(pixels):
    (left, top, side), *others = photo.find_faces(pixels)
    assert not others
    # eyes at (205, 104) and (247, 104), mouth at (226, 144)
    assert left < 200 and left + side > 252 and top < 95 and top + side > 155 and 80 < side < 130


@pytest.mark.slow
@pytest.mark.parametrize("factor", [0.4, 3.0, 14.0])  # of 205, 1,536 and 7,168 pixels: 51 megapixels
def test_size_hardly_moves_the_box(pixels, factor):
    size = round(512 * factor)
    boxes = photo.find_faces(np.asarray(Image.fromarray(pixels).resize((size, size))))
    assert len(boxes) == 1
    np.testing.assert_allclose(np.array(boxes[0]) / factor, photo.find_faces(pixels)[0], atol=12)


@pytest.mark.slow
def test_many_faces_and_none(pixels):
    face = pixels[20:220, 120:320]
    assert len(photo.find_faces(np.vstack([np.hstack([face] * 3)] * 2))) == 6
    assert photo.recognise(np.full((300, 300), 128, np.uint8)) == []
    assert photo.recognise(np.full((3, 3), 128, np.uint8)) == []


def test_a_crop_is_the_square_in_grey_and_repeats_the_edge(pixels):
    crop = photo.crop(pixels, (100, 50, 48))
    np.testing.assert_array_equal(crop, np.asarray(Image.fromarray(pixels).convert("L"))[50:98, 100:148])
    beyond = photo.crop(pixels, (-48, 0, 48))
    np.testing.assert_array_equal(beyond, np.repeat(photo.crop(pixels, (0, 0, 48))[:, :1], 48, axis=1))


@pytest.mark.slow
def test_a_cropped_face_of_the_data_set_goes_in_as_it_is(faces):
    (face,) = photo.recognise(faces.public.images[3], cropped=True)
    np.testing.assert_array_equal(face.image, faces.public.images[3])
    wide = np.hstack([np.zeros((48, 30), np.uint8), faces.public.images[3], np.zeros((48, 30), np.uint8)])
    (face,) = photo.recognise(wide, cropped=True)
    assert face.box == (30, 0, 48)
    np.testing.assert_array_equal(face.image, faces.public.images[3])


@pytest.mark.slow
def test_the_astronaut_smiles():
    (face,) = ferhelpers.recognise(PHOTO)
    assert face.emotion == "happy" and face.probabilities.max() > 0.8
    assert face.probabilities.sum() == pytest.approx(1)


@pytest.mark.slow
def test_probabilities_are_those_of_the_mean_logits_over_the_temperature(faces):
    network = photo.network()
    images = faces.public.images[:5]
    logits = training.predict(network.model, images, views=True) / network.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(network.probabilities(images), expected, atol=1e-4)


@pytest.mark.slow
def test_a_compiled_network_gives_the_same_logits(faces):
    model = photo.network().model
    images = faces.public.images[:3, ..., None]
    np.testing.assert_allclose(backend.inference(model)(images), model.predict(images, verbose=0), atol=1e-4)


@pytest.mark.slow
def test_what_if_asks_about_every_distorted_face():
    (face,) = photo.recognise(PHOTO)
    answers = photo.what_if(face)
    assert list(answers.distortion) == list(photo.distorted(face)) and len(answers) == 3 + 5 * 5
    assert answers.emotion[0] == face.emotion and answers.probability[0] == pytest.approx(face.probabilities.max())
    assert (answers[f"probability of {face.emotion}"] <= answers.probability + 1e-9).all()


@pytest.mark.slow
def test_the_command_writes_pictures_and_a_table(tmp_path, capsys):
    (tmp_path / "in" / "b").mkdir(parents=True)
    Image.open(PHOTO).save(tmp_path / "in" / "one.png")
    Image.open(PHOTO).save(tmp_path / "in" / "b" / "ONE.jpg")
    (tmp_path / "in" / "two.png").write_bytes(b"no image")
    grey(9).save(tmp_path / "in" / "wall.png")
    assert command.main([str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--what-if"]) == 1
    out, err = capsys.readouterr()
    assert err.strip() == f"{tmp_path / 'in' / 'two.png'} is no image that can be read, such as .jpg or .png"
    assert f"{tmp_path / 'in' / 'wall.png'}: no face" in out
    made = {file.name for file in (tmp_path / "out").iterdir()}
    assert made == {"faces.csv", "ONE.png", "ONE-what-if.png", "one-2.png", "one-2-what-if.png"}
    table = pd.read_csv(tmp_path / "out" / "faces.csv")
    assert list(table.picture) == ["ONE.png", "one-2.png"]
    rows = (tmp_path / "out" / "faces.csv").read_text().splitlines()
    assert len(rows) == 3 and all(",happy," in row for row in rows[1:])
    assert command.main([str(tmp_path / "in" / "wall.png"), "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.endswith("nothing is written\n")
    assert pd.read_csv(tmp_path / "out" / "faces.csv").equals(table)


@pytest.mark.slow
def test_every_picture_has_a_name_of_its_own():
    paths = [Path(name) for name in ("a-2.png", "a.gif", "b/a.jpg", "a.png", "x.jpg", "x-what-if.jpg")]
    assert command.names(paths) == ["a-2", "a", "a-3", "a-4", "x", "x-what-if-2"]


def test_a_folder_is_listed_without_hidden_files_and_earlier_pictures(tmp_path):
    for name in ("b.png", "a.JPG", "notes.txt", ".thumbs/c.png", "emotions/b.png", "more/d.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listed = command.listed([tmp_path, tmp_path / "notes.txt"], tmp_path / "emotions")
    assert [str(path.relative_to(tmp_path)) for path in listed] == ["a.JPG", "b.png", "more/d.webp", "notes.txt"]


@pytest.mark.slow
def test_the_command_says_what_is_wrong(tmp_path, capsys):
    for arguments, message in (
        ([str(tmp_path)], "holds no images"),
        ([str(tmp_path / "missing.jpg")], "no such file"),
        ([str(PHOTO), "--run", str(tmp_path)], "is not a stored run"),
    ):
        assert command.main([*arguments, "--output", str(tmp_path / "out")]) != 0
        out, err = capsys.readouterr()
        assert message in err and out == ""


@pytest.mark.slow
def test_without_the_detector_a_photo_is_refused_and_a_cropped_face_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    photo.detector.cache_clear()
    with pytest.raises(InputError, match=r"pip install '.\[photo\]'"):
        photo.recognise(PHOTO)
    assert len(photo.recognise(PHOTO, cropped=True)) == 1


@pytest.mark.slow
def test_a_stored_run_can_be_asked(tmp_path, faces):
    run = training.train(Experiment(blocks=1, width=0.1, epochs=1), faces, Store(tmp_path, "train --output 'my runs'"))
    (face,) = photo.recognise(faces.public.images[0], cropped=True, run=run.folder)
    logits = training.predict(run.model(), faces.public.images[:1])  # one view, as this run was tested
    expected = special.softmax(logits[0] / calibration.run_temperature(run))
    np.testing.assert_allclose(face.probabilities, expected, atol=2e-3)
    assert photo.heat([face], run.folder).shape == (1, 48, 48, 3)
    (run.folder / "model.keras").unlink()
    photo.network.cache_clear()
    with pytest.raises(InputError, match="again: train --output 'my runs' --output outputs/again"):
        photo.recognise(faces.public.images[0], cropped=True, run=run.folder)
