"""Long work in a child process, a folder a job: a training, an evaluation.

The folder is the truth, so a page's reload, a closed tab or a server that died changes nothing:

- ``status.json``: ``{"state": "waiting" | "running" | "done" | "cancelled" | "failed", "message", …}``,
  replaced whole by whoever is at work on it
- ``stop``: an empty file, put there by whoever wants the work to end
- ``child.log``: what the child wrote to stderr, for the person who looks after the server
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from cmlcore.jobs.files import whole_file
from cmlcore.jobs.processes import kill
from cmlcore.settings import settings

log = logging.getLogger(__name__)

State = Literal["waiting", "running", "done", "cancelled", "failed"]
WAITING: tuple[State, ...] = ("waiting", "running")
"""States in which a job is still to do."""
STATUS, STOP, LOG = "status.json", "stop", "child.log"
GRACE_S = 20.0  # a child that does not heed ``stop`` for so long is killed
STALE_S = 120.0  # a status this old is not one of somebody at work
LOG_BYTES = 1 << 20  # of an old log that is kept

DIED = "The work broke off without a word; there may not have been enough memory. Start it again."
CANCELLED = "Cancelled."


def read_status(folder: Path) -> dict[str, Any]:
    """What ``status.json`` holds; ``{}`` where there is none or it cannot be read."""
    try:
        found = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_status(folder: Path, **values: Any) -> None:
    """Change some of the values in ``status.json``; the others stay."""
    with whole_file(folder / STATUS) as part:
        part.write_text(json.dumps(read_status(folder) | values), encoding="utf-8")


def request_stop(folder: Path) -> None:
    """Ask for the end of a job that waits or is at work; returns at once."""
    (folder / STOP).touch()


def stop_requested(folder: Path) -> bool:
    """Whether somebody wants the job to end."""
    return (folder / STOP).exists()


def resume(folder: Path) -> None:
    """Put a job that is over back in line; what it makes of its earlier work is its own business."""
    (folder / STOP).unlink(missing_ok=True)
    write_status(folder, state="waiting", message="", pid=None)


class Children:
    """Works off the waiting folders under one root, one child process at a time, the oldest first."""

    def __init__(self, module: str, root: Callable[[], Path]) -> None:
        """``module`` is run as ``python -m module FOLDER``; ``root`` holds the folders, and may not exist."""
        self._module = module
        self._root = root
        self._child: subprocess.Popen[bytes] | None = None
        self._folder = Path()
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
        if read_status(self._folder).get("state") in WAITING:
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
        self._folder, self._stop_seen = folder, None
        record = folder / LOG
        if record.exists() and record.stat().st_size > LOG_BYTES:
            record.unlink()
        with record.open("ab") as err:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "cmlcore.jobs.child_main", self._module, str(folder)],
                stdin=subprocess.PIPE,  # held open by us alone: it closes when we go, however we go
                stdout=subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,
                env={**os.environ, "CML_HOME": str(settings().home)},
            )


def _at_work(status: dict[str, Any], written_ns: int) -> bool:
    """Whether somebody else, a shell for instance, works in a folder: it says so every few seconds."""
    if time.time() - written_ns / 1e9 > STALE_S or not isinstance(status.get("pid"), int):
        return False
    try:
        os.kill(status["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
