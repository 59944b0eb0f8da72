"""Child processes over a job's folder: their start, their locks, and their end with all they started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cmlcore.settings import settings

LOG = "child.log"
LOG_BYTES = 1 << 20  # of an old log that is kept


def locked(file: IO[str]) -> bool:
    """Take the file's lock if nobody holds it; False if somebody does."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def start_child(
    module: str, folder: Path, *, log_stdout: bool = False, pass_fds: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Run ``python -m module FOLDER``, see ``child_main``; what it says on stderr goes to the folder's log.

    It ends with this process, however that goes.

    Raises:
        OSError: no memory for a process, or the log cannot be written.

    """
    record = folder / LOG
    if record.exists() and record.stat().st_size > LOG_BYTES:
        record.unlink()
    with record.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "cmlcore.jobs.child_main", module, str(folder)],
            stdin=subprocess.PIPE,  # held open by us alone: it closes when we go
            stdout=log if log_stdout else subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
            pass_fds=pass_fds,
            env={**os.environ, "CML_HOME": str(settings().home)},
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a child that leads its own process group, and everything it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
