"""One notebook through papermill, in a kernel of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from traitlets.config import Config

from ferhelpers.errors import InputError
from ferhelpers.files import writing
from ferhelpers.progress import Progress


class NotebookError(Exception):
    """A cell of a notebook failed; the message shows the cell and its error."""


class OwnKernel(AsyncKernelManager):
    """A kernel in this very interpreter, whatever kernels Jupyter knows, without the user's IPython settings.

    What libraries write to standard error stays out of the terminal; the executed notebook has it. nbclient's own
    handler of Ctrl-C, which can lose the signal, is taken away again: here Ctrl-C stops run_all.py.
    """

    @property
    def kernel_spec(self) -> KernelSpec:
        """How the kernel is started."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")

    async def start_kernel(self, **options) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, _stop)
        package = str(Path(__file__).resolve().parents[1])  # so that a clone runs without being installed
        paths = dict.fromkeys([package, *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
        folder = str(Path(self.connection_file).parent)
        own = {"PYTHONPATH": os.pathsep.join(paths), "IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder}
        await super().start_kernel(**{**options, "env": {**os.environ, **own}, "stderr": subprocess.DEVNULL})


def _stop(number, frame):
    """Ctrl-C, and once more every ten seconds until it has ended the run: libraries can swallow the exception."""
    again = threading.Timer(10, os.kill, [os.getpid(), number])
    again.daemon = True
    again.start()
    raise KeyboardInterrupt


def execute(notebook: Path, target: Path, values: dict, progress: Progress) -> None:
    """Run a notebook in its own folder, and write it with its outputs, as far as it comes.

    Args:
        notebook: the source, .ipynb.
        target: where the executed notebook goes.
        values: of its parameters.
        progress: told of every cell and every printed line.

    Raises:
        InputError: a cell raised it, or the target cannot be written.
        NotebookError: a cell raised something else, or the kernel died.
    """
    try:
        with writing(target), TemporaryDirectory(prefix="ferhelpers-") as folder:
            papermill.execute_notebook(
                _literal(notebook),
                _literal(target),
                values,
                kernel_name="python3",
                cwd=notebook.parent,
                progress_bar=False,
                stdout_file=progress,
                on_cell_execute=progress.cell_begins,
                on_cell_executed=progress.cell_ends,
                kernel_manager_class=OwnKernel,
                config=Config(OwnKernel={"connection_file": str(Path(folder, "kernel.json"))}),
                shutdown_kernel="immediate",
                coalesce_streams=True,  # a block of lines, not one block a line
            )
    except papermill.PapermillExecutionError as error:
        if error.ename == "InputError":
            raise InputError(f"{notebook.stem}: {error.evalue}") from error
        traceback = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))  # without colours
        raise NotebookError(f"{error.source}\n\n{traceback}") from error
    except DeadKernelError as error:
        reason = "The kernel died: was there enough memory? --jobs 1 needs less."
        raise NotebookError(f"{progress.source}\n\n{reason}") from error


def _literal(path: Path) -> str:
    """papermill fills {names} in paths."""
    return str(path).replace("{", "{{").replace("}", "}}")
