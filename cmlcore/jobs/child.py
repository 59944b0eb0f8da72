"""Long work in a child process, a folder a job: a training, an evaluation.

The folder is the truth, so a page's reload, a closed tab or a server that died changes nothing:

- ``status.json`` and ``stop``: see ``cmlcore.job_folder``; states are "waiting", "running", "done",
  "cancelled" and "failed"
- ``child.log``: what the child wrote to stderr, for the person who looks after the server
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from cmlcore.job_folder import STATUS, clear_stop, pid_alive, read_status, stop_requested, write_status
from cmlcore.jobs.processes import kill, start_child

log = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "cancelled", "failed"]
WAITING: tuple[State, ...] = ("waiting", "running")
"""States in which a job is still to do."""
GRACE_S = 20.0  # a child that does not heed ``stop`` for so long is killed
STALE_S = 120.0  # a status this old is not one of somebody at work

DIED = "The work broke off without a word; there may not have been enough memory. Start it again."
CANCELLED = "Cancelled."


def resume(folder: Path) -> None:
    """Put a job that is over back in line; what it makes of its earlier work is its own business."""
    clear_stop(folder)
    write_status(folder, state="waiting", message="", pid=None, sitting=None)


class Children:
    """Works off the waiting folders under one root, one child process at a time, the oldest first."""

    def __init__(self, module: str, root: Callable[[], Path]) -> None:
        """``module`` is run as ``python -m module FOLDER``; ``root`` holds the folders, and may not exist."""
        self._module = module
        self._root = root
        self._child: subprocess.Popen[bytes] | None = None
        self._folder = Path()
        self._sitting = ""  # of the child, in the folder's status until somebody puts the job back in line
        self._stop_seen: float | None = None
        self._over: dict[Path, int] = {}  # folders that are over, with the time of their status

    def turn(self) -> None:
        """Note what has ended, and start the next one; call it about once a second.

        Raises:
            OSError: the data folder cannot be read or written.

        """
        if self._child is not None:
            self._look_after(self._child)
        if self._child is None:
            waiting = sorted(self._waiting())
            if waiting:
                self._start(waiting[0][1])

    def stop(self) -> None:
        """End the child at work; its folder waits for the next start."""
        if self._child is None:
            return
        kill(self._child)
        if read_status(self._folder).get("state") in WAITING:
            write_status(self._folder, state="waiting", pid=None)
        self._child = None

    def _look_after(self, child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            if self._stop_seen is None and stop_requested(self._folder):
                self._stop_seen = time.monotonic()
            if self._stop_seen is None or time.monotonic() - self._stop_seen < GRACE_S:
                return
            kill(child)
        self._child = None
        status = read_status(self._folder)
        # one that was cancelled and put back in line while its child was still leaving did not break off
        if status.get("state") in WAITING and status.get("sitting") == self._sitting:
            if stop_requested(self._folder):
                write_status(self._folder, state="cancelled", message=CANCELLED)
            else:
                log.warning("A child of %s ended with code %s.", self._module, child.returncode)
                write_status(self._folder, state="failed", message=DIED)

    def _waiting(self) -> Iterator[tuple[int, Path]]:
        """Folders in line with the time they got there; stale ones are put back, unwanted ones marked so."""
        for path in self._root().glob(f"*/{STATUS}"):
            folder = path.parent
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                since = path.stat().st_mtime_ns
                if self._over.get(folder) == since:
                    continue
                status = read_status(folder)
                if status.get("state") == "running" and not _at_work(status, since):
                    write_status(folder, state="waiting", pid=None)  # its server is no more
                elif status.get("state") == "waiting" and stop_requested(folder):
                    write_status(folder, state="cancelled", message=CANCELLED)
                elif status.get("state") == "waiting":
                    yield since, folder
                elif status.get("state") != "running":
                    self._over[folder] = since

    def _start(self, folder: Path) -> None:
        self._folder, self._stop_seen, self._sitting = folder, None, secrets.token_hex(4)
        write_status(folder, sitting=self._sitting)
        self._child = start_child(self._module, folder)


def _at_work(status: dict[str, Any], written_ns: int) -> bool:
    """Whether somebody else, a shell for instance, works in a folder: it says so every few seconds."""
    return time.time() - written_ns / 1e9 <= STALE_S and pid_alive(status)
