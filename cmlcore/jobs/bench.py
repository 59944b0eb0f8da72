"""Benches of classifiers as jobs, and the making of one classifier from a bench's recipe.

A folder each, ``CML_HOME/benches/<id>``: the files of ``folder_jobs`` and those of ``single_cell.bench``
(``bench.json``, ``answers/``). What ships lies in ``models/benches/<name>/bench.json``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cmlcore.errors import InputError
from cmlcore.geometry import MPP_LEAST, MPP_MOST
from cmlcore.jobs.child import Children
from cmlcore.jobs.data_roots import checked_path
from cmlcore.jobs.device import worker_threads
from cmlcore.jobs.folder_jobs import FolderJob, FolderJobs
from cmlcore.settings import settings
from cmlcore.single_cell import bench_table, shelf
from cmlcore.single_cell.spaces import Space
from models.registry import SHIPPED

FETCH: Literal["fetch"] = "fetch"
"""In place of a weight file: the library's weights, by name over the network."""


class BenchRequest(BaseModel):
    """What is compared on which images; with ``title``, one classifier is made instead."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    classes: tuple[str, ...] = ()
    starts: dict[str, Path | Literal["fetch"]] = Field(min_length=1, description="weights by backbone")
    tunings: tuple[Literal["last", "whole"], ...] = Field(("last",), min_length=1)
    spaces: tuple[Space, ...] = Field(("rgb",), min_length=1)
    cut: Literal["folds", "holdout", "parts"] = "folds"
    k: int = Field(5, ge=2, le=20)
    epochs: int = Field(12, ge=1, le=1000)
    scale: Literal["known", "given", "estimate"] = "known"
    mpp: float | None = Field(None, ge=MPP_LEAST, le=MPP_MOST)
    seed: int = Field(0, ge=0)
    device: str = "auto"
    threads: int = Field(0, ge=0)
    title: str = Field("", max_length=120, description="of the classifier to make; empty: a bench")

    @model_validator(mode="after")
    def _fits(self) -> BenchRequest:
        if self.title and (len(self.starts), len(self.tunings), len(self.spaces)) != (1, 1, 1):
            raise ValueError("one classifier has one backbone, one way of tuning and one colour space")
        if self.scale == "given" and self.mpp is None:
            raise ValueError("the pixel size is missing")
        return self


Bench = FolderJob[BenchRequest]
BENCHES = FolderJobs("bench", lambda: settings().home / "benches", BenchRequest, bench_table.RESULT)
BENCH_CHILDREN = Children("cmlcore.jobs.bench_child", BENCHES.root)
"""Works off what was asked; the service turns it."""


def submit_bench(asked: BenchRequest) -> str:
    """Queue a bench, or the making of a classifier; returns the job's id.

    Raises:
        InputError: the images or a weight file are not in a folder that may be read.
        ModelError: the title makes no key.

    """
    starts = {k: _checked_weights(v) for k, v in asked.starts.items()}
    if asked.title:
        shelf.free_key(asked.title)
    machine = {"device": settings().device, "threads": asked.threads or worker_threads()}
    return BENCHES.submit(
        asked.model_copy(update={"data": checked_path(asked.data), "starts": starts, **machine})
    )


def _checked_weights(given: Path | Literal["fetch"]) -> Path | Literal["fetch"]:
    if not isinstance(given, Path):
        return given
    if given.parent == settings().backbones_dir and given.is_file():
        return given
    path = checked_path(given)
    if path.is_dir():
        raise InputError(f"“{path.name}” is a folder; choose a weight file.")
    return path


def shipped_benches() -> dict[str, Path]:
    """Folders of the benches that came with CMLscope, by an id that no job has."""
    found = sorted((SHIPPED / "benches").glob(f"*/{bench_table.RESULT}"))
    return {f"shipped.{p.parent.name}": p.parent for p in found}


def bench_folder(key: str) -> Path:
    """Folder of a bench, stored or shipped.

    Raises:
        InputError: there is none of this id.

    """
    shipped = shipped_benches()
    return shipped[key] if key in shipped else BENCHES.folder(key)


def bench_result(key: str) -> dict[str, Any]:
    """What a bench has found so far.

    Raises:
        InputError: there is nothing yet, or it is of another version.

    """
    return bench_table.read(bench_folder(key))
