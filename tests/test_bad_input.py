"""Whatever is wrong with what run_all.py is given, it says so in one line, ends with status 2, and writes nothing."""

import os
import re
import resource
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import fake_fer
import numpy as np
import pytest

import run_all

ROOT = Path(__file__).parents[1]

SPLITS = fake_fer.arrays()
CSV = fake_fer.csv(SPLITS)
FILES = fake_fer.members(SPLITS)
FIRST = "train/angry/Training_1000.jpg"


# CSVs: name -> (content, parts of the line that run_all.py prints)


def row(number, change):
    return fake_fer.change_line(CSV, number, change)


def label(text):
    return row(2, lambda emotion, *rest: (text, *rest))


def usage(text):
    return row(3, lambda *rest: (*rest[:2], text))


def pixels(change):
    """Line 9 with its list of pixel texts changed."""
    return row(9, lambda emotion, values, usage: (emotion, b" ".join(change(values.split(b" "))), usage))


# What takes the place of single pixels, test_readers.py tries at random.
BAD_CSVS = {
    "empty": (b"", "line 1", "emotion,pixels,Usage"),
    "binary": (bytes(range(256)) * 50, "line 1", "emotion,pixels,Usage"),
    "UTF-16": (CSV.decode().encode("utf-16"), "line 1", "UTF-8"),
    "semicolons": (CSV.replace(b",", b";"), "line 1", "emotion;pixels;Usage"),
    "no header": (CSV.split(b"\n", 1)[1], "line 1"),
    "no Usage column": (row(1, lambda *columns: columns[:2]), "line 1"),
    "a fourth column": (row(1, lambda *columns: (*columns, b"extra")), "line 1", "extra"),
    "a column twice": (row(1, lambda *columns: (*columns[:2], b"pixels")), "line 1"),
    "Usage in small letters": (
        row(1, lambda *columns: (*columns[:2], b"usage")),
        "are 'emotion,pixels,usage'",
        "text\n",
    ),
    "header twice": (row(5, lambda *fields: (b"emotion", b"pixels", b"Usage")), "line 5", "'emotion'"),
    "a row of one field": (row(4, lambda *fields: fields[:1]), "line 4", "1 columns"),
    "a row without Usage": (row(4, lambda *fields: fields[:2]), "line 4", "2 columns"),
    "a row too wide": (row(4, lambda *fields: (*fields, b"1")), "line 4", "4 columns"),
    "unknown Usage": (usage(b"Train"), "line 3", "'Train'", "PublicTest"),
    "no Usage": (usage(b""), "line 3", "''"),
    "label 7": (label(b"7"), "line 2", "'7'", "0..6"),
    "label -1": (label(b"-1"), "line 2", "'-1'"),
    "label 1.0": (label(b"1.0"), "line 2", "'1.0'"),
    "2303 pixels": (pixels(lambda values: values[1:]), "line 9", "2,303 pixels", "2,304"),
    "2305 pixels": (pixels(lambda values: values + [b"1"]), "line 9", "2,305 pixels"),
    "no pixels": (pixels(lambda values: []), "line 9", "pixel 1"),
    "256": (pixels(lambda values: values[:99] + [b"256"] + values[100:]), "line 9", "pixel 100", "'256'", "0..255"),
    "other digits": (pixels(lambda values: values[:99] + ["١".encode()] + values[100:]), "line 9", "pixel 100"),
    "pixels by tabs": (pixels(lambda values: [b"\t".join(values)]), "line 9"),
    "a pixel in the next row": (
        re.sub(rb"^((.*\n){8}.*) (\d+)(,\w+\n\d,)", rb"\1\4\3 ", CSV),
        "line 9",
        "2,303 pixels",
    ),
    "cut in a row": (CSV[: len(CSV) // 2], "line"),
    "an endless line": (CSV + b"0," + b"1 " * 10**6, "line 23", "16,384"),
    "too many lines": (CSV + b"\n" * 80_000, "line 71775", "35,887"),
}


GREY = SPLITS["training"][0][0]
OFFICIAL = "kaggle.com/datasets/msambare/fer2013"
FER_PLUS = b"Usage,Image name,neutral,happiness\nTraining,fer0000000.png,4,0\n"
OTHERS = dict(list(fake_fer.reparted(SPLITS).items())[1:])
NUMBERED = fake_fer.reparted(SPLITS, ("train", "test", "test"))


def declares(side):
    """A JPEG of 48 x 48 pixels whose header claims more."""
    return FILES[FIRST].replace(struct.pack(">HH", 48, 48), struct.pack(">HH", side, side), 1)


BAD_FILES = {
    "nothing": ({}, "holds no FER-2013"),
    "an archive": ({"fer2013.zip": b"x"}, "holds no FER-2013", "archives in it are not opened"),
    "other files": ({"a.txt": b"", "b/c.jpg": b""}, "holds no FER-2013"),
    "text": ({FIRST: b"not an image"}, FIRST, "not a JPEG"),
    "empty image": ({FIRST: b""}, FIRST, "not a JPEG"),
    "PNG": ({FIRST: fake_fer.jpeg(GREY, form="PNG")}, FIRST, "a 48x48 PNG, grey", "own pixels", OFFICIAL),
    "PNG, by its name": (
        {"train/fear/im0.png": fake_fer.jpeg(GREY, form="PNG")},
        "train/fear/im0.png",
        "a 48x48 PNG, grey",
        OFFICIAL,
    ),
    "224 pixels a side in colour": (
        {FIRST: fake_fer.jpeg(np.kron(GREY, np.ones((5, 5), np.uint8))[:224, :224], "RGB", "PNG")},
        FIRST,
        "a 224x224 PNG, in colour",
        OFFICIAL,
    ),
    "truncated": ({FIRST: FILES[FIRST][:-40]}, FIRST, "broken JPEG"),
    "header only": ({FIRST: FILES[FIRST][:100]}, FIRST, "broken JPEG"),
    "wide": ({FIRST: fake_fer.jpeg(np.zeros((48, 49), np.uint8))}, FIRST, "49x48"),
    "declares 65500 pixels a side": ({FIRST: declares(65_500)}, FIRST, "broken JPEG"),
    "declares 9000 pixels a side": ({FIRST: declares(9_000)}, FIRST, "9000x9000"),
    "colour": ({FIRST: fake_fer.jpeg(GREY, "RGB")}, FIRST, "colour"),
    "CMYK": ({FIRST: fake_fer.jpeg(GREY, "CMYK")}, FIRST, "colour"),
    "heavy": ({FIRST: FILES[FIRST] + bytes(70_000)}, FIRST, "65,536"),
    "a text among the images": ({"train/angry/notes.txt": b"hi"}, "notes.txt", "Training_<number>.jpg"),
    "another name": ({"train/angry/1.jpg": FILES[FIRST]}, "1.jpg", "Training_<number>.jpg"),
    "one other name": (FILES | {"train/angry/1.jpg": FILES[FIRST]}, "angry/1.jpg", "Training_<number>.jpg"),
    "another class": ({"train/disgusted/im0.jpg": b""}, "'disgusted'", "angry, disgust", OFFICIAL),
    "the train.csv": ({"train.csv": b"emotion,pixels\n0,1"}, "train.csv", "without PublicTest", OFFICIAL),
    "the test.csv": ({"a/test.csv": b"pixels\n1 2\n"}, "a/test.csv", "without labels", OFFICIAL),
    "FER+": ({"FERPlus/fer2013new.csv": FER_PLUS, "FERPlus/src/a.py": b""}, "FER+", "without pixels", OFFICIAL),
    "train and validation": (OTHERS, "6 images in train/ and 14 images in validation/", "lacks PublicTest", OFFICIAL),
    "train and test, numbered": (NUMBERED, "7 images in train/", "lacks PublicTest", OFFICIAL),
    "unknown class": ({"train/contempt/Training_1.jpg": b""}, "'contempt'", "angry, disgust"),
    "no class": ({"train/Training_1.jpg": b""}, "train/Training_1.jpg"),
    "too deep": ({"train/angry/a/Training_1.jpg": b""}, "train/angry/a"),
    "test image in train": ({"train/angry/PublicTest_1.jpg": FILES[FIRST]}, "angry/PublicTest_1.jpg", OFFICIAL),
    "training image in test": ({"test/angry/Training_1.jpg": FILES[FIRST]}, "test/angry/Training_1.jpg"),
    "CSV and images": (FILES | {"fer2013.csv": CSV}, "both a CSV and image folders"),
    "two CSVs": ({"fer2013.csv": CSV, "icml_face_data.csv": CSV[: CSV.rfind(b"6,")]}, "second CSV"),
}
HOSTILE_NAMES = ("../" + FIRST, "/" + FIRST, "train/../../x", "train\\..\\..\\x", "\\train\\x", "train/angry/..")


# Sources: {name: (function: an empty folder -> the path to give as --data, parts of the line)}


def lone(content):
    def build(folder):
        (folder / "fer 2013.csv").write_bytes(content)
        return folder / "fer 2013.csv"

    return build


def inside(write, name, files):
    return lambda folder: write(folder / name, files)


def truncated(write, name, cut):
    def build(folder):
        content = write(folder / name, FILES).read_bytes()
        content = content.rstrip(b"\0") if name == "fer.tar" else content
        (folder / name).write_bytes(content[: int(cut * len(content)) if 0 < abs(cut) < 1 else cut])
        return folder / name

    return build


def loop(folder):
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


ARCHIVES = {"fer.zip": fake_fer.write_zip, **dict.fromkeys(fake_fer.TAR_MODES, fake_fer.write_tar)}
SOURCES = {f"CSV: {name}": (lone(content), *parts) for name, (content, *parts) in BAD_CSVS.items()}
for name, (content, *parts) in BAD_CSVS.items():
    zipped = inside(fake_fer.write_zip, "fer.zip", {"fer2013.csv": content})
    SOURCES[f"CSV in a zip: {name}"] = (zipped, "fer.zip", "fer2013.csv", *parts)
for name, (files, *parts) in BAD_FILES.items():
    for path, write in (*list(ARCHIVES.items())[:2], ("fer ä", fake_fer.write_folder)):
        SOURCES[f"{path}: {name}"] = (inside(write, path, files), path, *parts)
for path, write in ARCHIVES.items():
    for cut in (0, 1, 100, 0.3, 0.7, -1):
        SOURCES[f"{path} cut at {cut}"] = (truncated(write, path, cut), path)
    for name in HOSTILE_NAMES:
        SOURCES[f"{path} with {name}"] = (inside(write, path, FILES | {name: b""}), path, "unsafe name")
SOURCES |= {
    "nothing there": (lambda folder: folder / "nowhere.csv", "nowhere.csv", "nothing"),
    "an empty folder": (lambda folder: folder, "holds no FER-2013"),
    "another ending": (
        inside(fake_fer.write_zip, "fer.rar", FILES),
        "'fer.rar': it should end in one of .csv,",
        ".tar.gz,",
        ", or be a folder",
    ),
    "encrypted": (
        lambda folder: fake_fer.patch_zip(fake_fer.write_zip(folder / "fer.zip", FILES), 8, "B", 1),
        "encrypted; unpack the archive with its password and give the folder",
    ),
    "a name that is not UTF-8": (lambda folder: folder / os.fsdecode(b"\xff.csv"), "cannot be the path of a file"),
    "a name too long": (lambda folder: folder / ("x" * 300), "File name too long"),
    "a loop of links": (loop, "cannot be the path of a file"),
    "an image twice": (
        inside(fake_fer.write_zip, "fer.zip", FILES | {"copy/" + FIRST: FILES["train/fear/Training_1002.jpg"]}),
        "copy/" + FIRST,
        "twice",
    ),
    "a method of compression": (
        lambda folder: fake_fer.write_zip(folder / "fer.zip", FILES, zipfile.ZIP_LZMA),
        "method 14",
    ),
}


# Arguments


ARGUMENTS = [
    (["--profile", "huge"], "invalid choice: 'huge'"),
    (["--prof", "demo"], "unrecognized arguments: --prof demo"),
    (["demo"], "unrecognized arguments: demo"),
    (["--only", "11"], "no notebook '11'; there are 01_data"),
    (["--only", ""], "no notebook ''"),
    (["--only", "03;05"], "no notebook '03;05'"),
    (["--set", "EPOCHS"], "--set EPOCHS: write NAME=VALUE"),
    (["--set", "epochs=1"], "no chosen notebook has a parameter epochs; there are ANNEALING, BATCH_SIZE, CROPPED"),
    (["--only", "01", "--set", "WIDTH=1"], "no chosen notebook has a parameter WIDTH"),
    (["--set", "DATA=builtin"], "use --data instead"),
    (["--set", "OUTPUT=x"], "use --output instead"),
    (["--set", "RESULTS=x"], "use --results instead"),
    (["--only", "01", "--set", "SEEDS=2"], "no chosen notebook has a parameter SEEDS"),
    (["--set", "SEEDS=-3"], "SEEDS cannot be -3"),
    (["--networks", "final"], "a notebook needs all of its networks"),
    (
        ["--train-only", "--networks", "finale"],
        "no chosen notebook trains 'finale'; there are baseline_test_validation, baseline",
    ),
    (["--train-only", "--networks", "final,lite"], "by this profile no chosen notebook trains 'lite'; there are"),
    (["--train-only", "--networks", ""], "no chosen notebook trains ''"),
    (["--train-only", "--networks", "final", "--only", "04"], "no chosen notebook trains 'final'; there are blocks_1"),
    (["--train-only", "--only", "01,02"], "no chosen notebook trains a network"),
    (["--results", "nowhere"], "nowhere: it has no folder named runs"),
    (["--results", ""], "--results is empty"),
    (
        ["--results", str(ROOT / "results" / "fer2013")],
        "holds no run on these images; name those that it was trained on by --data or $FER2013",
    ),
    (["--results", str(ROOT / "results" / "fer2013"), "--only", "8"], "holds no run on these images"),
    (["--results", __file__], "it has no folder named runs"),
    (["--results", str(ROOT / "results" / "fer2013"), "--set", "SEEDS=2"], "--results shows every seed that is stored"),
    (["--results", "notebooks"], "it has no folder named runs"),
    (["--output", __file__], "is a file; give a folder"),
    (["--output", str(ROOT)], "is the project itself, whose notebooks would be overwritten"),
    *(([option, "~nosuchuser/x"], "cannot be the path of a file") for option in ("--data", "--output", "--results")),
    *(([option, "x" * 300], "File name too long") for option in ("--data", "--output", "--results")),
    (["--output", "x\udcff"], "cannot be the path of a file"),
    (["--output", ""], "--output is empty"),
    (["--data", ""], "--data is empty"),
    (["--set", "SEED=2147483647", "--set", "SEEDS=2"], "SEED cannot be"),
    (["--data"], "expected one argument"),
    (["--ray"], "--ray goes with --train-only"),
    (["--train-only", "--cpus", "1"], "--cpus goes with --ray"),
    (["--train-only", "--gpus", "0"], "--gpus goes with --ray"),
    (["--train-only", "--ray", "--jobs", "2"], "--jobs is for this machine alone"),
    *(
        (["--train-only", "--ray", "--cpus", amount], "is neither a whole number nor a share below 1")
        for amount in ("1.5", "-1", "inf", "nan", "all")
    ),
]
ARGUMENTS += [  # test_parameters.py has the ranges
    (["--set", change], change.split("=")[0])
    for change in ("FRACTION=half", "SUBSET=maybe", "EPOCHS=2.5", "BATCH_SIZE=1e3", "WIDTH=inf", "LEARNING_RATE=nan")
]
ARGUMENTS += [(["--set", f"WEIGHTS={value}"], "WEIGHTS") for value in ("", "nowhere.h5", "/")]


@pytest.fixture
def refused(tmp_path, monkeypatch, capfd):
    """A function that calls run_all.py and checks what every wrong input has in common."""
    monkeypatch.setenv("FERHELPERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def check(arguments, *parts):
        before = {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in tmp_path.rglob("*")}
        output = [] if "--output" in arguments else ["--output", str(tmp_path / "out")]
        assert run_all.main([*arguments, *output]) == 2
        out, err = capfd.readouterr()
        assert out == "" and err.startswith("run_all.py: ") and err.endswith("\n")
        assert err[:-1].isprintable() and len(err) < 700, err
        for part in parts:
            assert str(part) in err, err
        assert {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in tmp_path.rglob("*")} == before

    return check


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", SOURCES)
def test_bad_sources(tmp_path, refused, name):
    build, *parts = SOURCES[name]
    (tmp_path / "in").mkdir()
    refused(["--data", str(build(tmp_path / "in"))], *parts)


@pytest.mark.parametrize("arguments, part", ARGUMENTS)
def test_bad_arguments(refused, arguments, part):
    refused(["--data", "builtin", *arguments] if "--data" not in arguments else arguments, part)


@pytest.mark.parametrize("backend", ["torch", "nope"])
def test_bad_backends(refused, monkeypatch, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    refused([], f"KERAS_BACKEND is '{backend}'")


@pytest.mark.slow
@pytest.mark.parametrize("size", [10 * 2**30, 3 * 2**30])
def test_a_bomb_costs_neither_memory_nor_disk(tmp_path, size):
    """A zip of a megabyte that declares gigabytes is refused by a process that never needs as much."""
    path = fake_fer.write_zip(tmp_path / "fer.zip", {"fer2013.csv": CSV + bytes(2**30 // 1024)})
    fake_fer.patch_zip(path, 24, "<L", min(size, 2**32 - 2))
    command = [sys.executable, str(Path(run_all.__file__)), "--data", str(path), "--output", str(tmp_path / "out")]
    environment = {**os.environ, "FERHELPERS_CACHE": str(tmp_path / "cache")}
    limit = lambda: resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30))  # noqa: E731
    done = subprocess.run(command, capture_output=True, text=True, env=environment, preexec_fn=limit)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "fer2013.csv" in done.stderr, done.stderr
    assert sorted(os.listdir(tmp_path)) == ["fer.zip"]
