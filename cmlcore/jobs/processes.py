"""Locks that go with the process that holds them, and the end of a child with all it started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from typing import IO


def locked(file: IO[str]) -> bool:
    """Take the file's lock if nobody holds it; False if somebody does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a child that leads its own process group, and everything it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
