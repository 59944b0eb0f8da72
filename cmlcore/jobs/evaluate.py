"""Evaluations as jobs: asked for by a page, worked off in a child process, kept as files.

One folder each, ``CML_HOME/evaluations/<id>``: ``request.json`` (what was asked), ``status.json`` (how far
it is, see ``child``) and, once done, ``evaluation.json`` (``cmlcore.evaluation.result``).
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cmlcore import store
from cmlcore.errors import InputError
from cmlcore.evaluation import stored
from cmlcore.evaluation.result import Evaluation
from cmlcore.files import whole_file
from cmlcore.jobs import child
from cmlcore.jobs.child import Children, State
from cmlcore.jobs.data_roots import checked_path
from cmlcore.jobs.device import worker_threads
from cmlcore.jobs.runs import usable_card
from cmlcore.settings import settings
from cmlcore.store.ids import new_id

REQUEST = "request.json"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
EVALUATIONS = Children("cmlcore.jobs.evaluate_child", lambda: settings().evaluations_dir)
"""Works off what was asked; the service turns it."""


class EvaluationRequest(BaseModel):
    """What is to be judged, against what, how.

    Exactly one of ``model`` (key of a model card) and ``run`` (id of a stored run) is given. ``data`` is a
    folder or file of ground truth for a model, and a GeoJSON file in level-0 pixels for a run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = None
    run: str | None = None
    data: Path
    part: Literal["val", "train", "test", "all"] = "val"
    limit: int | None = Field(None, ge=1, description="at most so many images, spread evenly")
    min_score: float | None = Field(None, ge=0, le=1, description="None: the model's or the run's own")
    mpp: Literal["known", "auto"] = "known"
    image_mpp: float | None = Field(None, ge=0.005, le=50, description="for images that do not say it")
    bootstrap: int = Field(1000, ge=0, le=20_000)
    seed: int = Field(0, ge=0)
    device: str = "auto"
    threads: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_side(self) -> EvaluationRequest:
        if (self.model is None) == (self.run is None):
            raise ValueError("choose either a model or a run")
        return self


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """One evaluation: what was asked and how far it is.

    Attributes:
        id: of its folder.
        request: None where the shell made it.
        state: as in ``child``.
        stage: what is being done, in words.
        message: why it failed, else empty.
        done: images judged.
        total: images in all; 0 until known.
        left_s: seconds left; None while unknown.
        stopping: whether it is asked to end.
        created: when it was asked for.

    """

    id: str
    request: EvaluationRequest | None
    state: State
    stage: str
    message: str
    done: int
    total: int
    left_s: float | None
    stopping: bool
    created: datetime

    @property
    def active(self) -> bool:
        """Whether it waits or is at work."""
        return self.state in child.WAITING


def submit_evaluation(request: EvaluationRequest) -> str:
    """Queue an evaluation; everything that can be checked without reading images is checked now.

    Returns:
        Its id.

    Raises:
        InputError: the ground truth is not in a folder that may be read, or there is no such run.
        ModelError: the model or its weights are missing.
        StorageError: the data folder cannot be written.

    """
    data = checked_path(request.data)
    if request.run is not None:
        if not store.get_run(request.run).blocks_done:
            raise InputError("This run has no cells yet; wait until it is done.")
        if data.is_dir():
            raise InputError("A run is judged by one GeoJSON file in the slide's pixels; choose a file.")
    elif request.model is not None:
        usable_card(request.model)
    asked = request.model_copy(
        update={"data": data, "device": settings().device, "threads": request.threads or worker_threads()}
    )
    key = new_id()
    folder = evaluation_dir(key)
    with whole_file(folder / REQUEST) as part:
        part.write_text(asked.model_dump_json(), encoding="utf-8")
    child.write_status(folder, state="waiting", message="", created=datetime.now(UTC).isoformat())
    return key


def evaluation_dir(key: str) -> Path:
    """The folder of an evaluation; may not exist.

    Raises:
        InputError: this cannot be the id of one.

    """
    if not _ID.fullmatch(key):
        raise InputError("There is no such evaluation; it may have been deleted.")
    return settings().evaluations_dir / key


def get_evaluation(key: str) -> EvaluationJob:
    """One evaluation.

    Raises:
        InputError: there is none of this id.

    """
    found = _job(evaluation_dir(key))
    if found is None:
        raise InputError("There is no such evaluation; it may have been deleted.")
    return found


def list_evaluations() -> list[EvaluationJob]:
    """Every evaluation, also those made in the shell; newest first."""
    root = settings().evaluations_dir
    folders = root.iterdir() if root.is_dir() else ()
    found = [job for f in folders if _ID.fullmatch(f.name) and (job := _job(f)) is not None]
    return sorted(found, key=lambda job: (job.created, job.id), reverse=True)


def load_evaluation(key: str) -> Evaluation:
    """The result of an evaluation that is done.

    Raises:
        InputError: it is not done, or damaged.

    """
    return stored.load(evaluation_dir(key))


def result_path(key: str) -> Path:
    """The file of an evaluation's figures; may not exist."""
    return evaluation_dir(key) / stored.FILE


def cancel_evaluation(key: str) -> None:
    """Ask for the end of an evaluation that waits or is at work; of one that is over, nothing changes."""
    if get_evaluation(key).active:
        child.request_stop(evaluation_dir(key))


def restart_evaluation(key: str) -> None:
    """Put a failed or cancelled evaluation back in line.

    Raises:
        InputError: it is at work or done, or was made elsewhere.

    """
    job = get_evaluation(key)
    if job.state not in ("failed", "cancelled") or job.request is None:
        raise InputError("Only a failed or cancelled evaluation can be started again.")
    child.resume(evaluation_dir(key))


def delete_evaluation(key: str) -> None:
    """Remove an evaluation that is not at work.

    Raises:
        InputError: it is at work; cancel it first.

    """
    if get_evaluation(key).active:
        raise InputError("This evaluation is still at work; cancel it first.")
    shutil.rmtree(evaluation_dir(key), ignore_errors=True)


def read_request(folder: Path) -> EvaluationRequest | None:
    """What was asked for in a folder; None where nobody asked or it cannot be read."""
    try:
        return EvaluationRequest.model_validate_json((folder / REQUEST).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def _job(folder: Path) -> EvaluationJob | None:
    status, request = child.read_status(folder), read_request(folder)
    result = folder / stored.FILE
    if not status and not result.is_file():
        return None
    made = result.stat().st_mtime if result.is_file() else folder.stat().st_mtime
    created = status.get("created")
    return EvaluationJob(
        id=folder.name,
        request=request,
        state=status.get("state", "done"),
        stage=str(status.get("stage", "")),
        message=str(status.get("message", "")),
        done=int(status.get("done", 0)),
        total=int(status.get("total", 0)),
        left_s=status.get("left_s"),
        stopping=child.stop_requested(folder),
        created=datetime.fromisoformat(created) if created else datetime.fromtimestamp(made, UTC),
    )
