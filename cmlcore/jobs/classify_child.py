"""``python -m cmlcore.jobs.classify_child FOLDER``: name the cells of one job."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from cmlcore import RESEARCH_USE, store
from cmlcore.cells import CellTable, Filters
from cmlcore.errors import InputError, RunCancelledError
from cmlcore.files import write_json
from cmlcore.geometry import Mpp
from cmlcore.job_folder import stop_requested
from cmlcore.jobs.child import CANCELLED
from cmlcore.jobs.child_work import Tell, teller, work
from cmlcore.jobs.classify import ANSWERS, NAMINGS, PICTURES, RESULT, NamingRequest
from cmlcore.jobs.crops import CropWriter
from cmlcore.jobs.pictures import dropped, unpack
from cmlcore.single_cell.data import CellImage, CellSet
from cmlcore.single_cell.images import sizes_note
from cmlcore.single_cell.named import path_of, write_named
from cmlcore.single_cell.stream import Named, leukocyte_classes, name_cells
from cmlcore.slides import open_slide

if TYPE_CHECKING:
    from cmlcore.single_cell.classify import CellClassifier

_GROUP = 64  # pictures between two looks at whether to stop
_LIKELY = (0.01, 2.0)  # µm per pixel a microscope's camera has; 72 dpi of an office program is far outside


def main() -> None:
    """Name; whatever goes wrong becomes one sentence in the folder's status."""
    work(Path(sys.argv[1]), name_folder)


def name_folder(folder: Path) -> None:
    """Do what the folder's request asks for.

    Raises:
        CmlError: of the kind that fits.

    """
    asked, tell, began = NAMINGS.asked(folder), teller(folder), time.monotonic()

    def cancelled() -> bool:
        return stop_requested(folder)

    tell("Reading the images" if asked.run is None else "Opening the slide", 0, 0)
    made = (
        _of_pictures(asked, folder, tell, cancelled)
        if asked.run is None
        else _of_run(asked, folder, tell, cancelled)
    )
    write_json(folder / RESULT, {"research_use": RESEARCH_USE, **made, "seconds": time.monotonic() - began})


def _classifier(asked: NamingRequest) -> CellClassifier:
    from cmlcore.single_cell.classify import load

    return load(asked.classifier, asked.device, asked.threads)


def _facts(model: CellClassifier) -> dict[str, str]:
    """What every export says."""
    return {"classifier": model.card.key, "sha256": model.card.sha256, "device": model.device}


def _result(model: CellClassifier, **found: Any) -> dict[str, Any]:
    """Fields of ``NamingResult``, but for the time."""
    return {**_facts(model), "title": model.card.title, "classes": list(model.card.classes), **found}


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise RunCancelledError(CANCELLED)


# -- pictures -------------------------------------------------------------------------------------------


def _of_pictures(
    asked: NamingRequest, folder: Path, tell: Tell, cancelled: Callable[[], bool]
) -> dict[str, Any]:
    refused: list[tuple[int, str, str]] = [
        (-1, name, why) for name, why in unpack(folder / PICTURES, cancelled)
    ]
    paths = dropped(folder / PICTURES)
    if not paths:
        raise InputError(refused[0][2] if refused else "No image was found in what was dropped.")
    _check(cancelled)
    mpp = _scale(asked, paths, tell)
    tell("Loading the classifier", 0, 0)
    model = _classifier(asked)
    with CropWriter(folder) as crops:
        chunks = _named(paths, mpp, model, crops, refused, tell, cancelled)
        cells = write_named(folder / ANSWERS, chunks, model.card.classes, _facts(model))
    if not cells:
        raise InputError(f"None of the {len(paths)} images can be used; the first: {refused[0][2]}")
    bad = {at for at, _, _ in refused}
    note = sizes_note([p for i, p in enumerate(paths) if i not in bad])
    return _result(
        model,
        mpp=mpp,
        mpp_from=asked.scale,
        files=[p.name for p in paths],
        refused=refused,
        notes=[note] if note else [],
    )


def _named(
    paths: list[Path],
    mpp: float,
    model: CellClassifier,
    crops: CropWriter,
    refused: list[tuple[int, str, str]],
    tell: Tell,
    cancelled: Callable[[], bool],
) -> Iterator[Named]:
    """Answers for the pictures that can be used; the others go to ``refused``."""
    from cmlcore.single_cell.classify import Answers
    from cmlcore.single_cell.pictures import name_pictures

    for start in range(0, len(paths), _GROUP):
        _check(cancelled)
        tell("Naming cells", start, len(paths))
        rows = name_pictures(paths[start : start + _GROUP], mpp, model, seen=crops.add)
        refused += [(start + i, r.name, r.why) for i, r in enumerate(rows) if r.why]
        good = [(start + i, r) for i, r in enumerate(rows) if not r.why]
        if good:
            yield Named(
                np.array([at for at, _ in good], np.int64),
                Answers(
                    model.card.classes,
                    np.array([r.probs for _, r in good], np.float32),
                    np.array([r.unlike for _, r in good], np.float32),
                ),
            )
    tell("Naming cells", len(paths), len(paths))


def _scale(asked: NamingRequest, paths: list[Path], tell: Tell) -> float:
    """µm per pixel of the pictures."""
    if asked.scale == "given":
        return Mpp(asked.mpp or 0.0, asked.mpp or 0.0).x
    if asked.scale == "files":
        return told_by_files(paths)
    from cmlcore.single_cell.scale import estimate_set_mpp

    tell("Measuring the erythrocytes around the cells", 0, 0)
    images = tuple(CellImage(p, "") for p in paths)
    try:
        return estimate_set_mpp(CellSet(images, (), "image"), asked.device)
    except InputError as e:
        raise InputError(
            "Too few erythrocytes are seen around the cells to estimate the pixel size; enter it instead."
        ) from e


def told_by_files(paths: list[Path]) -> float:
    """µm per pixel as the files' own resolution says; the same for all of them.

    Raises:
        InputError: they say none that a microscope may have, or differ.

    """
    found = []
    for path in paths:
        try:
            with Image.open(path) as opened:
                dpi = opened.info.get("dpi")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue  # the reader says what is wrong with it
        mpp = 25_400 / float(dpi[0]) if dpi and dpi[0] else 0.0
        if not _LIKELY[0] <= mpp <= _LIKELY[1]:
            raise InputError(f"{path.name} does not say how many µm a pixel has; enter the pixel size.")
        found.append(mpp)
    if not found or max(found) > 1.02 * min(found):
        raise InputError("The images say different pixel sizes; name those of one microscope at a time.")
    return float(np.median(found))


# -- a run's leukocytes ---------------------------------------------------------------------------------


def _of_run(asked: NamingRequest, folder: Path, tell: Tell, cancelled: Callable[[], bool]) -> dict[str, Any]:
    run = store.get_run(str(asked.run))
    slide, table = store.get_slide(run.slide_id), CellTable(store.run_dir(run.id))
    total = table.count(Filters(classes=leukocyte_classes(table)))
    if not total:
        raise InputError("This run found no leukocytes; there is nothing to name.")
    tell("Loading the classifier", 0, total)
    model = _classifier(asked)
    mpp = Mpp(run.mpp_x, run.mpp_y)
    with open_slide(slide.path) as reader, CropWriter(folder) as crops:
        chunks = name_cells(
            reader,
            run.scene,
            table,
            model,
            mpp=mpp,
            progress=lambda n: tell("Naming leukocytes", n, total),
            cancelled=cancelled,
            seen=crops.add,
        )
        write_named(folder / ANSWERS, chunks, model.card.classes, _facts(model))
    # where the shell leaves them too: one road, two doors
    beside = path_of(store.run_dir(run.id), model.card.key)
    beside.parent.mkdir(exist_ok=True)
    shutil.copyfile(folder / ANSWERS, beside)
    return _result(model, mpp=mpp.mean, mpp_from="run", files=[], refused=[], notes=[])


if __name__ == "__main__":
    main()
