"""Run rows and the folder that belongs to each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update

from cmlcore.errors import InputError
from cmlcore.settings import settings
from cmlcore.store.ids import new_id
from cmlcore.store.session import session
from cmlcore.store.tables import ACTIVE, Run, RunStatus


def run_dir(run_id: str) -> Path:
    """Folder of a run: plan, Parquet parts, manifest; may not exist yet."""
    return settings().runs_dir / run_id


def add_run(**values: Any) -> Run:
    """Add a queued run; ``values`` are the columns that say what is asked."""
    row = Run(id=new_id(), **values)
    with session(write=True) as s:
        s.add(row)
    return row


def get_run(run_id: str) -> Run:
    """One run.

    Raises:
        InputError: there is no such run.

    """
    with session() as s:
        row = s.get(Run, run_id)
    if row is None:
        raise InputError("There is no such run; it may have been deleted.")
    return row


def list_runs(slide_id: str | None = None, *statuses: RunStatus) -> list[Run]:
    """Runs of a slide (of all slides: None), or those with one of the statuses; newest first."""
    query = select(Run).order_by(Run.created_at.desc(), Run.id)
    if slide_id is not None:
        query = query.where(Run.slide_id == slide_id)
    if statuses:
        query = query.where(Run.status.in_(statuses))
    with session() as s:
        return list(s.scalars(query))


def update_run(run_id: str, *, only: tuple[RunStatus, ...] = (), **values: Any) -> bool:
    """Set columns of a run, only while its status is one of ``only`` (any: empty). True if changed."""
    query = update(Run).where(Run.id == run_id).values(**values)
    if only:
        query = query.where(Run.status.in_(only))
    with session(write=True) as s:
        return bool(s.connection().execute(query).rowcount)


def cancel_requests() -> set[str]:
    """Ids of the runs at work that are asked to stop."""
    with session() as s:
        return set(s.scalars(select(Run.id).where(Run.status == "running", Run.cancel_requested)))


def delete_run(run_id: str) -> None:
    """Delete a run that is not at work, with its cells.

    Raises:
        InputError: the run is still active, or there is no such run.

    """
    if get_run(run_id).status in ACTIVE:
        raise InputError("This run is still at work; cancel it first.")
    shutil.rmtree(run_dir(run_id), ignore_errors=True)
    with session(write=True) as s:
        s.execute(delete(Run).where(Run.id == run_id))
