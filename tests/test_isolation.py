"""Nothing outside a run's settings changes its numbers, figures or interpreter; interruptions end in one line."""

import errno
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest
from jupyter_client.manager import start_new_kernel
from test_run_all import command, executed, start, study  # noqa: F401 (a fixture)

from ferhelpers import environment, execution, notebook, plots
from ferhelpers.errors import InputError
from ferhelpers.files import hold, write_json
from ferhelpers.progress import Progress

ROOT = Path(environment.__file__).parents[1]
NOWHERE = "/proc/nowhere"  # a folder that nobody can make
CELL = "import sys; print(sys.executable)"


def python(code, variables=(), **options):
    """A script's standard output in a process with these environment variables."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **dict(variables)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


# Numbers

LOSSES = """
{before}
from pathlib import Path
from ferhelpers import data, training
from ferhelpers.experiments import Experiment
{after}
faces = data.load("builtin").subset(0.05)
small = Experiment(blocks=1, width=0.1, epochs=1, batch_size=32, precision="float32", augmentation=True)
model = training.build(small, len(faces.training))
history = training.fit(model, small, faces.training, faces.public, Path("checkpoint"), lambda line: None)
logits = training.predict(model, faces.private.images)
print(repr([history[-1]["loss"], history[-1]["val_loss"], logits.dtype.name, float(logits.sum())]))
"""


def losses(folder, variables=(), before="", after=""):
    return python(LOSSES.format(before=before, after=after), variables, cwd=folder)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The losses without anything of a user's own, by backend."""
    home = str(tmp_path_factory.mktemp("home"))
    known = {}

    def of(backend):
        if backend not in known:
            folder = tmp_path_factory.mktemp(backend)
            known[backend] = losses(folder, {"HOME": home, "KERAS_BACKEND": backend})
        return known[backend]

    return of


def case(name, **values):
    return pytest.param(values, id=name)


SET_BY_A_CELL = 'import keras; keras.config.set_floatx("float16"); keras.config.set_epsilon(0.1);'
CHANNELS = 'keras.config.set_image_data_format("channels_first"); keras.config.set_dtype_policy("mixed_float16")'


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        case("float16", json={"floatx": "float16", "epsilon": 0.5}),
        case("channels", json={"image_data_format": "channels_first", "backend": "theano"}),
        case("torch", json={"backend": "torch", "floatx": "bfloat16"}),
        case("no object", json=["floatx"]),
        case("variables", variables={**dict.fromkeys(environment.REMOVED, "1"), "KERAS_BACKEND": ""}),
        case("before", before=SET_BY_A_CELL + CHANNELS),
        case("after", after=SET_BY_A_CELL + CHANNELS),
        case("printing", after="import numpy, pandas; numpy.set_printoptions(1); pandas.options.display.precision = 1"),
        case("x64", backend="jax", variables={"JAX_ENABLE_X64": "1", "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16"}),
        case("x64 in a cell", backend="jax", after='import jax; jax.config.update("jax_enable_x64", True)'),
    ],
)
def test_a_training_gives_the_same_losses(given, clean, tmp_path):
    backend = given.get("backend", "tensorflow")
    if backend == "jax":
        pytest.importorskip("jax")
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(given.get("json", {})))
    variables = {"HOME": str(tmp_path), "KERAS_HOME": str(tmp_path / ".keras"), "KERAS_BACKEND": backend}
    variables |= given.get("variables", {})
    assert losses(tmp_path, variables, given.get("before", ""), given.get("after", "")) == clean(backend)


@pytest.mark.parametrize(
    "name, value, kept",
    [
        ("TF_ENABLE_ONEDNN_OPTS", "0", None),
        ("KERAS_MAX_STEPS_PER_EPOCH", "1", None),
        ("KERAS_BACKEND", "", "tensorflow"),
        ("KERAS_BACKEND", "jax", "jax"),
        ("MPLBACKEND", "nonsense", None),
        ("MPLBACKEND", "module://matplotlib_inline.backend_inline", "module://matplotlib_inline.backend_inline"),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true", "--xla_cpu_enable_fast_math=true"),
    ],
)
def test_variables_are_removed_kept_or_filled_in(name, value, kept, monkeypatch):
    for other in ("KERAS_BACKEND", "KERAS_HOME"):
        monkeypatch.setenv(other, os.environ[other])
    monkeypatch.setenv(name, value)
    environment.isolate()
    assert os.environ.get(name) == kept


def test_a_run_names_the_variables_that_stay(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
    record = environment.environment("float32")
    assert record["variables"] == {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true"}
    monkeypatch.delenv("XLA_FLAGS")
    assert "variables" not in environment.environment("float32")


@pytest.mark.parametrize("name", ["theano", "torch", "TensorFlow"])
def test_another_backend_is_named(name, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(InputError, match=f"^KERAS_BACKEND is '{name}'; the series runs on tensorflow .* or jax$"):
        notebook.begin("fine", {"DATA": "builtin", "OUTPUT": "out", "FRACTION": 0.05})


# Figures


def drawn():
    """A figure with text, a negative number, a legend, points and notes."""
    rows = {"test_set": "gaussian_blur", "level": ["1", "2"], "measured": [-0.4, 0.5], "low": [-0.5, 0.4]}
    frame = pd.DataFrame({**rows, "high": [-0.3, 0.6], "published": [0.4, np.nan]})
    return plots.png(plots.level_curves(frame, "accuracy", "blocks"), ["a note"])


@pytest.mark.parametrize(
    "settings",
    [
        {"text.usetex": True},
        {"font.family": ["serif"], "font.size": 30.0},
        {"axes.grid": True, "grid.linewidth": 4.0, "axes.facecolor": "black"},
        {"axes.unicode_minus": False, "lines.linewidth": 9.0, "lines.markersize": 20.0},
        {"savefig.transparent": True, "savefig.pad_inches": 2.0, "figure.facecolor": "red"},
        {"text.color": "red", "text.antialiased": False, "font.sans-serif": ["DejaVu Serif"]},
    ],
)
def test_a_figure_has_the_same_bytes_whatever_matplotlib_is_set_to(settings):
    expected = drawn()
    with matplotlib.rc_context(settings):
        assert drawn() == expected
        assert {name: matplotlib.rcParams[name] for name in settings} == settings  # of the user's own figures


@pytest.mark.slow
def test_a_matplotlibrc_and_an_unknown_backend_change_nothing(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.family: serif\naxes.grid: True\nno line\n")
    code = "import hashlib, sys, test_isolation as t; from matplotlib import pyplot; pyplot.figure();"
    code += "print(hashlib.sha256(t.drawn()).hexdigest())"
    variables = {"MATPLOTLIBRC": str(tmp_path), "MPLBACKEND": "nonsense"}
    variables["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    assert python("import ferhelpers;" + code, variables).strip() == hashlib.sha256(drawn()).hexdigest()


# The kernel


def run_cells(folder, *cells):
    """What the cells of a notebook print in their kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "other", "display_name": "Other", "language": "python"}
    nbformat.write(notebook, folder / "asked.ipynb")
    with Progress(len(cells)) as progress:
        execution.execute(folder / "asked.ipynb", folder / "done.ipynb", {}, progress)
    return executed(folder / "done.ipynb")


@pytest.mark.parametrize(
    "variables",
    [
        {"JUPYTER_PATH": "{folder}/jupyter", "JUPYTER_PREFER_ENV_PATH": "0"},
        {"PATH": "{folder}/bin:/usr/bin:/bin"},
        {"HOME": NOWHERE},
        {"HOME": NOWHERE, "JUPYTER_RUNTIME_DIR": NOWHERE, "IPYTHONDIR": NOWHERE, "MPLCONFIGDIR": NOWHERE},
        {"IPYTHONDIR": "{folder}/ipython"},
    ],
    ids=["kernelspec", "path", "home", "folders", "startup"],
)
def test_a_notebook_runs_in_the_interpreter_that_runs_it(variables, monkeypatch, tmp_path):
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    startup = tmp_path / "ipython" / "profile_default" / "startup" / "exit.py"
    program = tmp_path / "bin" / "python3"
    for path in (spec, startup, program):
        path.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["false", "{connection_file}"], "display_name": "P", "language": "python"}))
    startup.write_text("import os; os._exit(3)")
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(folder=tmp_path))
    before = dict(os.environ)
    assert run_cells(tmp_path, CELL) == f"{sys.executable}\n"
    assert dict(os.environ) == before


@pytest.mark.slow
def test_a_notebook_works_without_a_home(study, tmp_path):  # noqa: F811
    root = study("fine")
    variables = {"HOME": NOWHERE, "FERHELPERS_CACHE": NOWHERE, "XDG_CACHE_HOME": NOWHERE}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        process = start(root, "fine", "out")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0 and "fine  done in" in out and err == "", err
    assert (root / "out" / "figures" / "fine_face.png").stat().st_size > 0


# Folders


@pytest.mark.parametrize(
    "named, folder",
    [
        ("../outputs/notebooks", "{project}/outputs/notebooks"),
        ("out", "{project}/notebooks/out"),
        ("{project}/elsewhere", "{project}/elsewhere"),
        ("~/out", "{home}/out"),
    ],
)
@pytest.mark.parametrize("started_in", ["", "notebooks", "notebooks/deeper"])
def test_folders_are_relative_to_the_notebooks(named, folder, started_in, monkeypatch, tmp_path, faces):
    project, home = tmp_path / "project", tmp_path / "home"
    (project / "notebooks" / "deeper").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(notebook, "HERE", project / "notebooks")
    monkeypatch.chdir(project / started_in)
    values = {"OUTPUT": named.format(project=project)}
    begun = notebook.Study("fine", values, faces, 0.0)
    assert str(begun.output) == folder.format(project=project, home=home)
    begun.end()
    assert (begun.output / "notebooks" / "fine.json").is_file()
    with pytest.raises(InputError, match=f"RESULTS: {begun.output}/runs holds no runs"):
        notebook.Study("fine", {**values, "RESULTS": values["OUTPUT"]}, faces, 0.0).results  # noqa: B018


def test_where_the_package_is_installed_folders_are_relative_to_the_current_one(monkeypatch, tmp_path, faces):
    monkeypatch.setattr(notebook, "HERE", tmp_path / "site-packages" / "notebooks")
    monkeypatch.chdir(tmp_path)
    assert notebook.Study("fine", {"OUTPUT": "out"}, faces, 0.0).output == tmp_path / "out"


# Interruptions


def test_a_reader_that_goes_away_stops_the_run_in_one_line(study):  # noqa: F811
    root = study("slow")
    process = start(root, "slow", "out")
    assert process.stdout.readline().startswith("BUILT-IN DRAWN FACES")
    process.stdout.close()
    assert process.wait(timeout=90) == 141
    command = "python run_all.py --output out --data builtin"
    assert process.stderr.read() == f"Stopped: standard output was closed. To go on: {command}\n"


@pytest.mark.slow
def test_closed_standard_output_is_no_hindrance(study):  # noqa: F811
    root = study("fine")
    shell = ["sh", "-c", 'exec "$0" "$@" >&-', *command("fine")]
    done = subprocess.run(shell, cwd=root, stderr=subprocess.PIPE, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
    assert (root / "outputs" / "demo" / "index.html").is_file()


@pytest.mark.slow
def test_ctrl_c_while_waiting_is_one_line(study):  # noqa: F811
    root = study("fine")
    with hold(root / "out" / ".lock", waiting=None):
        process = start(root, "fine", "out")
        while "Waiting for another" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().startswith("Stopped. What is finished is kept; to go on: ") and err.count("\n") == 2


@pytest.mark.slow
def test_two_notebooks_at_once_share_an_output_folder(tmp_path):
    fixture = Path(__file__).parent / "fixtures" / "fine.ipynb"
    command = [sys.executable, "-m", "papermill", fixture, "-p", "OUTPUT", tmp_path / "out", "--no-progress-bar"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([*command, tmp_path / f"{number}.ipynb"], env=variables, stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    record = json.loads((tmp_path / "out" / "notebooks" / "fine.json").read_text())
    assert [figure["name"] for figure in record["figures"]] == ["fine_face"]


@pytest.mark.slow
def test_run_all_works_inside_a_kernel(tmp_path):
    text = run_cells(tmp_path, "import run_all; print('status', run_all.main(['--only', '99']))")
    assert text.startswith("run_all.py: --only 99: there is no notebook '99'; there are 01_data, ")
    assert text.endswith("\nstatus 2\n") and text.count("\n") == 2


@pytest.mark.slow
def test_run_all_run_by_magic_ends_its_cell_with_its_status(tmp_path, capfd):
    with pytest.raises(execution.NotebookError, match=r"SystemExit: 2\s*$") as failure:
        run_cells(tmp_path, f"%run {ROOT}/run_all.py --only 99")
    assert "Traceback" not in str(failure.value)
    assert capfd.readouterr().out.startswith("  run_all.py: --only 99: there is no notebook '99'; there are 01_data, ")


@pytest.mark.slow
def test_ctrl_c_inside_a_kernel_stops_the_run(tmp_path):
    manager, client = start_new_kernel(env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        arguments = ["--data", "builtin", "--only", "02", "--output", str(tmp_path / "out")]
        client.execute(f"import run_all; print('status', run_all.main({arguments}))")
        text = ""
        while "status" not in text:
            message = client.get_iopub_msg(timeout=90)
            if message["msg_type"] == "stream":
                text += message["content"]["text"]
                if "02_distortions  begins" in text and "Stopped" not in text:
                    manager.interrupt_kernel()
            assert message["msg_type"] != "error", message["content"]
        lines = text.splitlines()
        assert lines[-2].startswith("Stopped. What is finished is kept; to go on: python run_all.py --data builtin")
        assert lines[-1] == "status 130"
    except queue.Empty:
        pytest.fail(text)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_folder_that_refuses_is_one_line_by_whatever_path_it_is_named(tmp_path, monkeypatch):
    def refuse(dir, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.path.abspath(dir / "temporary"))

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(InputError, match=r"cannot write .*c\.json \(Permission denied\)"):
        write_json(tmp_path / "a" / ".." / "b" / "c.json", {})
