"""The part that every job's folder has, be it a training or an evaluation: how it stands, and "stop".

- ``status.json``: ``{"state": …, "message": …, "pid": …, …}``, replaced whole by whoever is at work on it
- ``stop``: an empty file, put there by whoever wants the work to end
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from cmlcore.files import read_json, write_json

STATUS, STOP = "status.json", "stop"
FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""Of a job's folder; no name like it leads out of the folder above."""


def read_status(folder: Path) -> dict[str, Any]:
    """How the job stands; ``{}`` where nobody has said so yet."""
    return read_json(folder / STATUS)


def write_status(folder: Path, **values: Any) -> None:
    """Change some of the values in ``status.json``; the others stay."""
    write_json(folder / STATUS, read_status(folder) | values, durable=False)


def request_stop(folder: Path) -> None:
    """Ask for the end of a job that waits or is at work; returns at once."""
    (folder / STOP).touch()


def stop_requested(folder: Path) -> bool:
    """Whether somebody wants the job to end."""
    return (folder / STOP).exists()


def clear_stop(folder: Path) -> None:
    """Take the request back, as whoever resumes a job must."""
    (folder / STOP).unlink(missing_ok=True)


def pid_alive(status: dict[str, Any]) -> bool:
    """Whether the process that wrote the status is still there."""
    pid = status.get("pid")
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
