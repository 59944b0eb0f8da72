"""Trainings: asked for, cancelled, resumed, deleted, and how far each has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect

from cmlcore import store
from cmlcore.errors import InputError
from cmlcore.job_folder import read_status, request_stop
from cmlcore.jobs.data_roots import checked_path
from cmlcore.jobs.progress import ahead_of
from cmlcore.jobs.shell_trainings import shell_training, shell_trainings
from cmlcore.store import RunStatus, Training
from cmlcore.store.tables import now
from cmlcore.training.settings import TrainSettings, checked

CANCELLED = "Cancelled; the last checkpoint is kept, and the training can be resumed."
CANCELLED_EARLY = "Cancelled before it began; it can be resumed."


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """What a progress panel shows.

    Attributes:
        training_id: the training.
        status: queued, running, done, failed or cancelled.
        message: one sentence for a training that failed or was cancelled, else empty.
        fraction: 0..1 of all steps, or of the time where that is the limit.
        stage: what the child says it does; empty while nobody is at work.
        epoch: passes over the images so far, all sittings.
        epochs: passes to do; 0 where something else is the limit.
        step: steps done, all sittings.
        steps: steps to do; 0 until known.
        seconds: time worked, all sittings.
        left_s: seconds left; None while nothing has been measured or nobody is at work.
        device: the device at work; empty until known.
        ahead: trainings waiting or at work before this one while it is queued.
        stopping: whether it is asked to stop and has not ended yet.

    """

    training_id: str
    status: RunStatus
    message: str
    stage: str
    fraction: float
    epoch: float
    epochs: float
    step: int
    steps: int
    seconds: float
    left_s: float | None
    device: str
    ahead: int = 0
    stopping: bool = False

    @property
    def active(self) -> bool:
        """Whether it is worth asking again."""
        return self.status in store.ACTIVE


def submit_training(name: str, asked: TrainSettings | Mapping[str, Any]) -> str:
    """Queue a training. Returns its id.

    Raises:
        InputError: a setting cannot be used, a folder lies outside the allowed ones, or there is no name.

    """
    made = asked if isinstance(asked, TrainSettings) else checked(dict(asked))
    if not made.data:
        raise InputError("Choose at least one set of labelled images to train on.")
    if made.epochs is None and made.steps is None and made.minutes is None:
        raise InputError("Say how long to train: so many epochs, steps or minutes.")
    for path in made.data:
        checked_path(path)
    if made.backbone_weights is not None:
        checked_path(made.backbone_weights)
    return store.add_training(name, made.model_dump(mode="json")).id


def all_trainings() -> list[Training]:
    """Every training there is, also those that the shell started; newest first."""
    rows = store.list_trainings()
    found = [*rows, *shell_trainings({r.id for r in rows})]
    return sorted(found, key=lambda t: (t.created_at, t.id), reverse=True)


def find_training(training_id: str) -> Training:
    """One training, also one that the shell started.

    Raises:
        InputError: there is no such training.

    """
    return _of_shell(training_id) or store.get_training(training_id)


def _of_shell(training_id: str) -> Training | None:
    known = any(r.id == training_id for r in store.list_trainings())
    return None if known else shell_training(training_id)


def cancel_training(training_id: str) -> None:
    """Cancel a training; its checkpoint is kept. Cancelling one that is over changes nothing.

    Raises:
        InputError: there is no such training.

    """
    if _of_shell(training_id) is not None:
        request_stop(store.training_dir(training_id))
        return
    store.get_training(training_id)
    ended = {"status": "cancelled", "cancel_requested": True, "finished_at": now()}
    begun = bool(read_status(store.training_dir(training_id)))
    message = CANCELLED if begun else CANCELLED_EARLY
    if not store.update_training(training_id, only=("queued",), message=message, **ended):
        store.update_training(training_id, only=("running",), cancel_requested=True)


def resume_training(training_id: str) -> None:
    """Queue a failed or cancelled training again; it goes on from its last checkpoint.

    One that the shell started is from then on like any other.

    Raises:
        InputError: there is no such training, or it is at work or done.

    """
    row = find_training(training_id)
    over: tuple[RunStatus, ...] = ("failed", "cancelled")
    if row.status not in over:
        raise InputError(f"This training is {row.status}; only a failed or cancelled one can be resumed.")
    if inspect(row).transient:
        store.add_training(row.name, row.settings, row.id)
        return
    store.update_training(
        training_id, only=over, status="queued", cancel_requested=False, message="", finished_at=None
    )


def delete_training(training_id: str) -> None:
    """Delete a training that is not at work, with its checkpoints and curves; an installed model stays.

    Raises:
        InputError: the training is still active, or there is no such training.

    """
    row = find_training(training_id)
    if inspect(row).transient and row.status not in store.ACTIVE:
        store.add_training(row.name, row.settings, row.id)  # to be deleted like any other
        store.update_training(row.id, status="cancelled")
    elif inspect(row).transient:
        raise InputError("This training is still at work in the shell; cancel it first.")
    store.delete_training(training_id)


def training_progress(training_id: str) -> TrainingProgress:
    """How far a training has come.

    Raises:
        InputError: there is no such training.

    """
    row = find_training(training_id)
    waits = row.status == "queued"
    return progress_of_training(row, ahead_of(row, store.list_trainings(*store.ACTIVE)) if waits else 0)


def progress_of_training(row: Training, ahead: int = 0) -> TrainingProgress:
    """The progress that a row and its folder tell."""
    told = read_status(store.training_dir(row.id))
    step, steps = _whole(told.get("step")), _whole(told.get("steps"))
    seconds, left_s = _number(told.get("seconds")) or 0.0, _number(told.get("left_s"))
    at_work = row.status == "running" and told.get("state") == "running"
    return TrainingProgress(
        training_id=row.id,
        status=row.status,
        message=row.message,
        stage=str(told.get("message") or "") if at_work else "",
        fraction=1.0 if row.status == "done" else _fraction(step, steps, seconds, left_s),
        epoch=_number(told.get("epoch")) or 0.0,
        epochs=_number(told.get("epochs")) or 0.0,
        step=step,
        steps=steps,
        seconds=seconds,
        left_s=left_s if at_work else None,
        device=str(told.get("device") or ""),
        ahead=ahead,
        stopping=row.status == "running" and row.cancel_requested,
    )


def _fraction(step: int, steps: int, seconds: float, left_s: float | None) -> float:
    """Share behind, by steps or by time, whichever is further on: a training ends at the first limit."""
    by_steps = step / steps if steps else 0.0
    by_time = seconds / (seconds + left_s) if left_s is not None and seconds > 0 else 0.0
    return min(1.0, max(by_steps, by_time, 0.0))


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
