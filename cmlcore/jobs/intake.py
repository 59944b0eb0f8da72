"""The door for slides: a file gets an id and a row; checking and converting follow in the background."""

from __future__ import annotations

import shutil
from pathlib import Path

from cmlcore import store
from cmlcore.errors import InputError, StorageError
from cmlcore.files import FULL, NO_SPACE
from cmlcore.jobs.runs import cancel_run
from cmlcore.settings import settings
from cmlcore.store.ids import new_id


def intake_slide(path: Path | str, *, in_place: bool, name: str | None = None) -> str:
    """Take a slide in. Returns at once; the row's status says how checking goes.

    Args:
        path: the file. With ``in_place`` it stays where it is and is never deleted; else it is moved
            into the slide's own folder under a neutral name.
        in_place: only for files in an import folder, or any file the shell names.
        name: the user's own name for the slide; without one it goes by its id.

    Returns:
        The id of the slide; status "checking".

    Raises:
        InputError: there is no such file, or the name cannot be used.
        StorageError: the file cannot be moved.

    """
    source = Path(path).resolve()
    if not source.exists():
        raise InputError("The file is not there any more; choose it again.")
    slide_id = new_id()
    size = _size(source)
    target = source if in_place else _moved(source, slide_id)
    store.add_slide(target, size_bytes=size, imported_in_place=in_place, name=name, slide_id=slide_id)
    return slide_id


def recheck_slide(slide_id: str) -> None:
    """Check a refused slide again, after its cause has been removed (a full disk, a missing folder).

    Raises:
        InputError: the slide is not refused, or there is no such slide.

    """
    if store.get_slide(slide_id).status != "refused":
        raise InputError("Only a refused slide can be checked again.")
    store.update_slide(slide_id, status="checking", progress=0.0, message="")


def delete_slide(slide_id: str) -> None:
    """Delete a slide with its runs. Where one is at work it is cancelled first, and the service deletes then.

    Raises:
        InputError: there is no such slide.
        StorageError: a file cannot be removed; try again.

    """
    store.get_slide(slide_id)
    for row in store.list_runs(slide_id, *store.ACTIVE):
        cancel_run(row.id)
    if store.list_runs(slide_id, *store.ACTIVE):
        store.update_slide(slide_id, status="deleting")
        return
    store.delete_slide(slide_id)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder (a DICOM series)."""
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size


def _moved(source: Path, slide_id: str) -> Path:
    folder = settings().slides_dir / slide_id
    # The suffix helps some decoders; the name in front of it may be a person's and is left behind.
    suffix = source.suffix.lower() if source.suffix[1:].isalnum() and len(source.suffix) <= 6 else ""
    target = folder / f"slide{suffix}"
    part = folder / "slide.part"
    try:
        folder.mkdir(parents=True)
        shutil.move(source, part)  # a copy where the upload lies on another disk
        part.replace(target)
    except OSError as e:
        shutil.rmtree(folder, ignore_errors=True)
        raise StorageError(FULL if e.errno in NO_SPACE else "The upload cannot be stored; try again.") from e
    return target
