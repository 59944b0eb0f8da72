"""Trainings that the shell started in the data folder: no row knows them, their folders say everything."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cmlcore import job_folder
from cmlcore.errors import InputError
from cmlcore.settings import settings
from cmlcore.store import RunStatus, Training
from cmlcore.store.ids import LENGTH
from cmlcore.training import run_dir

GONE = "The process that trained is gone; the training can be resumed from its last checkpoint."
_OVER: dict[str, RunStatus] = {"done": "done", "cancelled": "cancelled", "failed": "failed"}


def shell_trainings(known: set[str]) -> list[Training]:
    """Those whose id is not among ``known``; each is a snapshot that the database has never seen."""
    root = settings().trainings_dir
    folders = root.iterdir() if root.is_dir() else ()
    found = (shell_training(f.name) for f in folders if f.name not in known)
    return [t for t in found if t is not None]


def shell_training(training_id: str) -> Training | None:
    """One of them; None where its folder holds no training."""
    folder = _folder(training_id)
    if folder is None:
        return None
    try:
        asked = run_dir.read_settings(folder)
    except InputError:
        return None
    told = job_folder.read_status(folder)
    alive = job_folder.pid_alive(told)
    status: RunStatus = _OVER.get(str(told.get("state")), "running" if alive else "failed")
    lost = status == "failed" and told.get("state") != "failed"
    return Training(
        id=training_id,
        name=asked.title or "Started from the shell",
        settings=asked.model_dump(mode="json"),
        status=status,
        cancel_requested=job_folder.stop_requested(folder),
        message=GONE if lost else str(told.get("message") or "") if status in _OVER else "",
        created_at=_written(folder / run_dir.SETTINGS),
        started_at=None,
        finished_at=None if status == "running" else _written(folder / job_folder.STATUS),
    )


def _folder(training_id: str) -> Path | None:
    """Its folder, if it may be an id at all: it comes out of a URL."""
    if not (training_id.isalnum() and len(training_id) <= LENGTH):
        return None
    folder = settings().trainings_dir / training_id
    return folder if folder.is_dir() else None


def _written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
