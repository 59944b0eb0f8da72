"""Training rows and the folder that belongs to each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update

from cmlcore.errors import InputError, StorageError
from cmlcore.settings import settings
from cmlcore.store.ids import new_id
from cmlcore.store.session import session
from cmlcore.store.tables import ACTIVE, RunStatus, Training

NAME_LENGTH = 200


def training_dir(training_id: str) -> Path:
    """Folder of a training: settings, curves, checkpoints, model; may not exist yet."""
    return settings().trainings_dir / training_id


def add_training(name: str, asked: dict[str, Any], training_id: str | None = None) -> Training:
    """Add a queued training; ``asked`` are its settings. With an id, its folder may be there already.

    Raises:
        InputError: the name is empty or too long.

    """
    clean = " ".join(name.split())
    if not clean or len(clean) > NAME_LENGTH:
        raise InputError(f"A name has 1 to {NAME_LENGTH} characters; choose another.")
    row = Training(id=training_id or new_id(), name=clean, settings=asked)
    with session(write=True) as s:
        s.add(row)
    return row


def get_training(training_id: str) -> Training:
    """One training.

    Raises:
        InputError: there is no such training.

    """
    with session() as s:
        row = s.get(Training, training_id)
    if row is None:
        raise InputError("There is no such training; it may have been deleted.")
    return row


def list_trainings(*statuses: RunStatus) -> list[Training]:
    """All trainings, or those with one of the statuses; newest first."""
    query = select(Training).order_by(Training.created_at.desc(), Training.id)
    if statuses:
        query = query.where(Training.status.in_(statuses))
    with session() as s:
        return list(s.scalars(query))


def update_training(training_id: str, *, only: tuple[RunStatus, ...] = (), **values: Any) -> bool:
    """Set columns of a training, only while its status is one of ``only`` (any: empty). True if changed."""
    query = update(Training).where(Training.id == training_id).values(**values)
    if only:
        query = query.where(Training.status.in_(only))
    with session(write=True) as s:
        return bool(s.connection().execute(query).rowcount)


def delete_training(training_id: str) -> None:
    """Delete a training that is not at work, with its checkpoints and curves. An installed model stays.

    Raises:
        InputError: the training is still active, or there is no such training.
        StorageError: a file cannot be removed; the row stays, so that it can be tried again.

    """
    if get_training(training_id).status in ACTIVE:
        raise InputError("This training is still at work; cancel it first.")
    try:
        shutil.rmtree(training_dir(training_id))
    except FileNotFoundError:
        pass
    except OSError as e:
        raise StorageError(f"A file of the training cannot be removed ({e.strerror}); try again.") from e
    with session(write=True) as s:
        s.execute(delete(Training).where(Training.id == training_id))
