"""Evaluations as jobs: asked for by a page, worked off in a child process, kept as files.

A folder each, ``CML_HOME/evaluations/<id>``: the files of ``folder_jobs`` and, once done, those of
``cmlcore.evaluation.stored``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cmlcore import store
from cmlcore.errors import InputError
from cmlcore.evaluation.stored import FILE
from cmlcore.geometry import MPP_LEAST, MPP_MOST
from cmlcore.jobs.child import Children
from cmlcore.jobs.data_roots import checked_path
from cmlcore.jobs.device import worker_threads
from cmlcore.jobs.folder_jobs import FolderJob, FolderJobs
from cmlcore.jobs.runs import usable_card
from cmlcore.settings import settings


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
    image_mpp: float | None = Field(
        None, ge=MPP_LEAST, le=MPP_MOST, description="for images that do not say it"
    )
    bootstrap: int = Field(1000, ge=0, le=20_000)
    seed: int = Field(0, ge=0)
    device: str = "auto"
    threads: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_side(self) -> EvaluationRequest:
        if (self.model is None) == (self.run is None):
            raise ValueError("choose either a model or a run")
        return self


EvaluationJob = FolderJob[EvaluationRequest]
EVALUATIONS = FolderJobs("evaluation", lambda: settings().evaluations_dir, EvaluationRequest, FILE)
EVALUATION_CHILDREN = Children("cmlcore.jobs.evaluate_child", EVALUATIONS.root)
"""Works off what was asked; the service turns it."""


def submit_evaluation(request: EvaluationRequest) -> str:
    """Queue an evaluation; everything that can be checked without reading images is checked now.

    Returns:
        Its id.

    Raises:
        InputError: the ground truth is not in a folder that may be read, or there is no such run.
        ModelError: the model or its weights are missing.
        OSError: the data folder cannot be written.

    """
    data = checked_path(request.data)
    if request.run is not None:
        if not store.get_run(request.run).blocks_done:
            raise InputError("This run has no cells yet; wait until it is done.")
        if data.is_dir():
            raise InputError("A run is judged by one GeoJSON file in the slide's pixels; choose a file.")
    elif request.model is not None:
        usable_card(request.model)
    machine = {"device": settings().device, "threads": request.threads or worker_threads()}
    return EVALUATIONS.submit(request.model_copy(update={"data": data, **machine}))
