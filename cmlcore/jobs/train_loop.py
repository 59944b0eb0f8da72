"""The loop that works trainings off, one at a time, each in a child process of its own.

The rows are the truth. A child goes with the server (``cmlcore.jobs.child_main`` watches its stdin), and
holds a lock in the training's folder for as long as it or a worker of it lives; a second child is never
started beside it, whatever became of the server.
"""

from __future__ import annotations

import logging
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmlcore import store
from cmlcore.errors import InputError
from cmlcore.job_folder import clear_stop, read_status, request_stop, write_status
from cmlcore.jobs.processes import kill, locked, start_child
from cmlcore.jobs.train import CANCELLED
from cmlcore.store import Training
from cmlcore.store.tables import now
from cmlcore.training.run_dir import BROKE_OFF, SETTINGS, new_run_dir, why_it_ended
from cmlcore.training.settings import checked

log = logging.getLogger(__name__)
MODULE = "cmlcore.training.child"
LOCK = "lock"
ASKED_S = 20.0  # a child that does not heed its stop file for so long is told to end
TOLD_S = 40.0  # and after this, killed; its last checkpoint is kept


@dataclass(slots=True)
class _Child:
    """The child at work, and when it was first asked to stop."""

    training_id: str
    folder: Path
    process: subprocess.Popen[bytes]
    stop_seen_s: float | None = None
    told: bool = False


class TrainLoop:
    """Owns the child. Used from one thread; call ``turn`` about once a second."""

    def __init__(self, module: str = MODULE) -> None:
        """``module`` is run over the training's folder."""
        self._module = module
        self._child: _Child | None = None
        self._recovered = False

    def turn(self) -> None:
        """Note what has ended, heed a cancel, start the next one.

        Raises:
            CmlError: the database cannot be used at present.
            OSError: a folder cannot be written at present.

        """
        if not self._recovered:
            _recover()
            self._recovered = True
        if self._child is not None:
            self._look_after(self._child)
        if self._child is None:
            self._start_next()

    def stop(self, patience_s: float = ASKED_S) -> None:
        """The server ends: the child saves and ends, and its training waits for the next start."""
        child, self._child = self._child, None
        if child is None:
            return
        with suppress(ProcessLookupError):
            child.process.terminate()
        try:
            child.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            kill(child.process)
        self._close(child, server_ends=True)

    # -- a child at work --------------------------------------------------------------------------------

    def _look_after(self, child: _Child) -> None:
        if child.process.poll() is not None:
            self._child = None
            self._close(child)
            return
        if child.stop_seen_s is None:
            if store.get_training(child.training_id).cancel_requested:
                child.stop_seen_s = time.monotonic()
                with suppress(OSError):  # on a full disk the signals below must do
                    request_stop(child.folder)
            return
        waited_s = time.monotonic() - child.stop_seen_s
        if waited_s > TOLD_S:
            log.warning("Training %s does not stop; it is killed.", child.training_id)
            kill(child.process)
        elif waited_s > ASKED_S and not child.told:
            child.told = True
            child.process.terminate()

    def _close(self, child: _Child, *, server_ends: bool = False) -> None:
        """Write into the row how it ended."""
        if child.process.stdin:
            child.process.stdin.close()
        told = read_status(child.folder)
        state, message = told.get("state"), str(told.get("message") or "")
        cancelled = store.get_training(child.training_id).cancel_requested
        if state == "done":
            end: dict[str, Any] = {"status": "done", "message": message}
        elif state == "failed":
            end = {"status": "failed", "message": message or BROKE_OFF}
        elif cancelled:
            end = {"status": "cancelled", "message": CANCELLED}
        elif server_ends:
            _requeue(child.training_id)
            return
        elif state == "cancelled":  # somebody put the stop file there by hand
            end = {"status": "cancelled", "message": CANCELLED}
        else:
            code = child.process.returncode
            log.warning("The child of training %s ended with code %s.", child.training_id, code)
            end = {"status": "failed", "message": why_it_ended(code)}
        store.update_training(child.training_id, only=("running",), finished_at=now(), **end)

    # -- the next one -----------------------------------------------------------------------------------

    def _start_next(self) -> None:
        for row in reversed(store.list_trainings("queued")):  # oldest first
            if self._start(row):
                return

    def _start(self, row: Training) -> bool:
        """Start a child for a queued training; False if one that a dead server left is still at it."""
        folder = store.training_dir(row.id)
        try:
            if not (folder / SETTINGS).is_file():
                new_run_dir(checked(row.settings), folder)
        except InputError as e:  # asked of an earlier version; the others must not wait for it
            ended = {"status": "failed", "message": str(e), "finished_at": now()}
            store.update_training(row.id, only=("queued",), **ended)
            return False
        with (folder / LOCK).open("a") as lock:
            if not locked(lock):
                return False
            begun = {"status": "running", "message": "", "started_at": row.started_at or now()}
            if not store.update_training(row.id, only=("queued",), **begun):
                return False  # cancelled a moment ago
            clear_stop(folder)
            write_status(folder, state="waiting", message="", left_s=None)
            try:
                fds = [lock.fileno()]  # the lock stays as long as anybody holds a copy
                started = start_child(self._module, folder, log_stdout=True, pass_fds=fds)
            except OSError:  # no memory for a process, for instance: it is tried again
                _requeue(row.id)
                raise
            self._child = _Child(row.id, folder, started)
        return True


def _recover() -> None:
    """Trainings that a server which is no more had at work wait again, or are cancelled if it was to."""
    for row in store.list_trainings("running"):
        if row.cancel_requested:
            ended = {"status": "cancelled", "message": CANCELLED, "finished_at": now()}
            store.update_training(row.id, only=("running",), **ended)
        else:
            _requeue(row.id)


def _requeue(training_id: str) -> None:
    store.update_training(training_id, only=("running",), status="queued", message="")
