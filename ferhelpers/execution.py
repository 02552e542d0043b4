"""One notebook through papermill, in a kernel of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import papermill
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError

from ferhelpers.errors import InputError
from ferhelpers.files import writing
from ferhelpers.progress import Progress


class NotebookError(Exception):
    """A cell of a notebook failed; the message shows the cell and its error."""


class QuietKernel(AsyncKernelManager):
    """A kernel that keeps what libraries write to standard error out of the terminal; the executed notebook has it.

    It also takes nbclient's own handler of Ctrl-C away again, which can lose the signal: here it stops run_all.py.
    """

    async def start_kernel(self, **options) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, _stop)
        await super().start_kernel(**options, stderr=subprocess.DEVNULL)


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
    package = str(Path(__file__).resolve().parents[1])  # so that a clone runs without being installed
    os.environ["PYTHONPATH"] = os.pathsep.join(
        dict.fromkeys([package, *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    )
    try:
        with writing(target):
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
                kernel_manager_class=QuietKernel,
                shutdown_kernel="immediate",
            )
    except papermill.PapermillExecutionError as error:
        if error.ename == "InputError":
            raise InputError(f"{notebook.stem}: {error.evalue}") from error
        traceback = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback))  # without colours
        raise NotebookError(f"{error.source}\n\n{traceback}") from error
    except DeadKernelError as error:
        raise NotebookError(f"{progress.source}\n\nThe kernel died: was there enough memory?") from error


def _literal(path: Path) -> str:
    """papermill fills {names} in paths."""
    return str(path).replace("{", "{{").replace("}", "}}")
