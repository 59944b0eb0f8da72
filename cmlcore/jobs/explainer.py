"""Where a classifier looked at one cell: asked of a worker that keeps the network loaded for a while.

The web process imports no torch. The first question starts the worker, which ends by itself when nobody
has asked for some minutes, and with the server.
"""

from __future__ import annotations

import json
import logging
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from cmlcore.errors import RunError
from cmlcore.jobs.processes import kill
from cmlcore.settings import settings

log = logging.getLogger(__name__)
MAPS = "maps"
WAIT_S = 180.0  # for a first answer: the network is loaded before
_FAILED = "The explanation could not be made; there may not be enough memory. Close the cell and try again."


class Explainer:
    """One worker, started on demand. Safe for several threads, which take turns."""

    def __init__(self, module: str = "cmlcore.jobs.explain_child") -> None:
        """Nothing is started until ``ask``; then ``module`` answers a line of JSON with one."""
        self._module = module
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[bytes] | None = None

    def ask(self, folder: Path, row: int, cls: str) -> tuple[str, Path]:
        """Draw the map of one cell of a naming, or find it drawn.

        Args:
            folder: of the naming.
            row: of its answers.
            cls: the class to explain.

        Returns:
            The name of the method, and a JPEG of the cell with the map laid over.

        Raises:
            RunError: the worker gave up, with the sentence that says why.

        """
        for method, path in map_paths(folder, row, cls).items():
            if path.is_file():
                return method, path
        with self._lock:
            told = self._answer({"folder": str(folder), "row": row, "cls": cls})
        if "error" in told:
            raise RunError(str(told["error"]))
        return str(told["method"]), Path(str(told["path"]))

    def stop(self) -> None:
        """End the worker, if there is one."""
        with self._lock:
            self._end()

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        line = json.dumps(question).encode() + b"\n"
        for _ in range(2):  # a worker may just have ended for want of questions
            worker = self._worker if self._alive() else self._start()
            try:
                told = _exchange(worker, line)
            except OSError:
                told = b""
            if told:
                return dict(json.loads(told))
            self._end()
        log.warning("The worker that explains cells gave no answer.")
        return {"error": _FAILED}

    def _alive(self) -> bool:
        return self._worker is not None and self._worker.poll() is None

    def _start(self) -> subprocess.Popen[bytes]:
        self._worker = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "CML_HOME": str(settings().home)},
        )
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            kill(self._worker)
            for pipe in (self._worker.stdin, self._worker.stdout):
                if pipe is not None:
                    pipe.close()
        self._worker = None


def _exchange(worker: subprocess.Popen[bytes] | None, line: bytes) -> bytes:
    """Send a line and wait for one; empty where none comes in time."""
    if worker is None or worker.stdin is None or worker.stdout is None:
        return b""
    worker.stdin.write(line)
    worker.stdin.flush()
    ready, _, _ = select.select([worker.stdout], [], [], WAIT_S)
    return worker.stdout.readline() if ready else b""


def map_paths(folder: Path, row: int, cls: str) -> dict[str, Path]:
    """Where the map of a cell lies, by method; attention is the same for every class."""
    return {
        "attention": folder / MAPS / f"{row}-attention.jpg",
        "Grad-CAM": folder / MAPS / f"{row}-cam-{cls}.jpg",
    }


EXPLAINER = Explainer()
"""The server's."""
