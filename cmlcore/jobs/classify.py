"""Namings of single cells as jobs: of dropped pictures, or of the leukocytes of a finished run.

One folder each, ``CML_HOME/namings/<id>``. Beside the files of ``folder_jobs``:

- ``pictures/``: what was dropped (``jobs.pictures``); not of a run
- ``answers.parquet``: what the classifier says, a row a cell (``single_cell.named``); ``cell_id`` is the
  run's, or the place of a picture in ``result.json``'s ``files``
- ``crops.bin``, ``crops.npy``: the fields the classifier took, a JPEG a row (``jobs.crops``)
- ``result.json``: facts of the whole, and every picture that could not be used with its sentence
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cmlcore import store
from cmlcore.errors import InputError, ModelError
from cmlcore.files import read_json
from cmlcore.geometry import MPP_LEAST, MPP_MOST
from cmlcore.jobs.child import Children
from cmlcore.jobs.device import worker_threads
from cmlcore.jobs.folder_jobs import FolderJob, FolderJobs
from cmlcore.jobs.pictures import batch_dir, dropped
from cmlcore.settings import settings
from cmlcore.single_cell import named, shelf
from cmlcore.single_cell.pictures import Picture, pictures_csv

ANSWERS, RESULT, PICTURES = "answers.parquet", "result.json", "pictures"

Scale = Literal["given", "files", "estimate"]
"""Where the pixel size of pictures comes from: a person, the files themselves, the erythrocytes around."""


class NamingRequest(BaseModel):
    """Which cells are named by which classifier. Without a run, it is the job's own pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classifier: str
    run: str | None = None
    scale: Scale = "given"
    mpp: float | None = Field(
        None, ge=MPP_LEAST, le=MPP_MOST, description="µm per pixel of the pictures, where given"
    )
    device: str = "auto"
    threads: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _sized(self) -> NamingRequest:
        if self.run is None and self.scale == "given" and self.mpp is None:
            raise ValueError("the pixel size is missing")
        return self


Naming = FolderJob[NamingRequest]
NAMINGS = FolderJobs("naming", lambda: settings().home / "namings", NamingRequest, RESULT)
NAMING_CHILDREN = Children("cmlcore.jobs.classify_child", NAMINGS.root)
"""Works off what was asked; the service turns it."""


def name_pictures_of(batch: str, classifier: str, scale: Scale, mpp: float | None) -> str:
    """Queue the naming of a batch of dropped pictures, which becomes the job's; returns its id.

    Raises:
        InputError: the batch is gone or empty, or the pixel size is missing.
        ModelError: the classifier or its weights are missing.

    """
    _usable(classifier)
    folder = batch_dir(batch)
    if not folder.is_dir() or not dropped(folder):
        raise InputError("Drop at least one image first.")
    if scale == "given" and mpp is None:
        raise InputError("Enter how many µm a pixel of these images has, or let it be estimated.")
    asked = NamingRequest(classifier=classifier, scale=scale, mpp=mpp, **_machine())
    return NAMINGS.submit(asked, lambda own: _move(folder, own / PICTURES))


def name_run(run_id: str, classifier: str) -> str:
    """Queue the naming of a run's leukocytes; returns the job's id.

    Raises:
        InputError: there is no such run, or it has no cells yet.
        ModelError: the classifier or its weights are missing.

    """
    _usable(classifier)
    run = store.get_run(run_id)
    if not run.blocks_done or run.status in store.ACTIVE:
        raise InputError("This run is not done yet; wait until it is.")
    return NAMINGS.submit(NamingRequest(classifier=classifier, run=run_id, **_machine()))


def _machine() -> dict[str, Any]:
    return {"device": settings().device, "threads": worker_threads()}


def _usable(key: str) -> None:
    card = shelf.card(key)
    if not card.weights.is_file():
        raise ModelError(f"The weights of “{key}” are missing; put {card.weights.name} back.")


def _move(batch: Path, into: Path) -> None:
    batch.rename(into)


# -- results --------------------------------------------------------------------------------------------


class NamingResult(BaseModel):
    """What ``result.json`` says.

    Attributes:
        classifier, title, sha256: of the classifier.
        classes: of its outputs, in the order of the probabilities.
        device: it worked on.
        mpp: µm per pixel; of pictures or of the run's slide.
        mpp_from: "given", "files", "estimate" or "run".
        files: names of all pictures in the order dropped; empty of a run.
        refused: place in ``files``, or −1 for what was no file of its own, with name and sentence.
        notes: sentences about the whole.
        seconds: the work took.

    """

    model_config = ConfigDict(frozen=True)

    classifier: str
    title: str
    sha256: str
    classes: tuple[str, ...]
    device: str
    mpp: float
    mpp_from: str
    files: tuple[str, ...]
    refused: tuple[tuple[int, str, str], ...]
    notes: tuple[str, ...]
    seconds: float


def naming_result(folder: Path) -> NamingResult:
    """The facts of a naming that is done.

    Raises:
        InputError: it is not done, or damaged.

    """
    try:
        return NamingResult.model_validate(read_json(folder / RESULT))
    except ValidationError as e:
        raise InputError("The names of these cells are not there or damaged; name them again.") from e


def naming_csv(folder: Path) -> Iterator[bytes]:
    """All answers as CSV, the research notice first; of pictures also those that could not be used.

    Raises:
        InputError: the naming is not done.
        RunError: its table is damaged.

    """
    found = naming_result(folder)
    if not found.files:
        yield from named.csv_stream(folder / ANSWERS)
        return
    rows = {at: Picture(name, why=why) for at, name, why in found.refused if at >= 0}
    for batch in named.batches(folder / ANSWERS):
        for r in batch.to_pylist():
            name = found.files[r["cell_id"]]
            rows[r["cell_id"]] = Picture(name, r["cls"], r["best"], r["unlike"], tuple(r["probs"]))
    order = [rows[k] for k in sorted(rows)]
    order += [Picture(name, why=why) for at, name, why in found.refused if at < 0]
    yield from pictures_csv(order, shelf_card(found))


def shelf_card(found: NamingResult) -> shelf.ClassifierCard:
    """The classifier of a result as far as its exports need it; it may have left the shelf meanwhile."""
    return shelf.ClassifierCard(
        found.classifier, found.title, "", "last", "", found.classes, 0.0, 0, Path(), found.sha256
    )
