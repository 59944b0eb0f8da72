"""Slide rows and the files that belong to them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from cmlcore.errors import InputError, StorageError
from cmlcore.geometry import Mpp
from cmlcore.settings import settings
from cmlcore.store.ids import new_id
from cmlcore.store.runs import list_runs, run_dir
from cmlcore.store.session import session
from cmlcore.store.tables import ACTIVE, Slide, SlideStatus

NAME_LENGTH = 200


def tile_cache(slide_id: str) -> Path:
    """Folder of the slide's converted tiles and thumbnails; may not exist yet."""
    return settings().tiles_dir / slide_id


def add_slide(
    path: Path,
    *,
    size_bytes: int,
    imported_in_place: bool,
    name: str | None = None,
    slide_id: str | None = None,
) -> Slide:
    """Add a slide that is still to be checked; without a name it goes by its id, never by its file name."""
    key = slide_id or new_id()
    row = Slide(
        id=key,
        name=_clean_name(name) if name else key,
        path=str(path),
        size_bytes=size_bytes,
        imported_in_place=imported_in_place,
    )
    with session(write=True) as s:
        s.add(row)
    return row


def get_slide(slide_id: str) -> Slide:
    """One slide.

    Raises:
        InputError: there is no such slide.

    """
    with session() as s:
        row = s.get(Slide, slide_id)
    if row is None:
        raise InputError("There is no such slide; it may have been deleted.")
    return row


def list_slides(*statuses: SlideStatus) -> list[Slide]:
    """All slides, or those with one of the statuses; newest first."""
    query = select(Slide).order_by(Slide.created_at.desc(), Slide.id)
    if statuses:
        query = query.where(Slide.status.in_(statuses))
    with session() as s:
        return list(s.scalars(query))


def update_slide(slide_id: str, *, unless: tuple[SlideStatus, ...] = ("deleting",), **values: Any) -> bool:
    """Set columns of a slide, unless its status is one of ``unless``. True if the row was changed."""
    query = update(Slide).where(Slide.id == slide_id).values(**values)
    if unless:
        query = query.where(Slide.status.not_in(unless))
    with session(write=True) as s:
        return bool(s.connection().execute(query).rowcount)


def rename_slide(slide_id: str, name: str) -> None:
    """Give a slide the user's own name.

    Raises:
        InputError: the name is empty or too long, or there is no such slide.

    """
    if not update_slide(slide_id, name=_clean_name(name)):
        raise InputError("There is no such slide; it may have been deleted.")


def set_mpp(slide_id: str, mpp: Mpp | None, *, is_estimate: bool = False) -> None:
    """Set the pixel size the user gives, or take it back (None); earlier runs keep theirs.

    Raises:
        InputError: there is no such slide.

    """
    values: dict[str, Any] = {
        "mpp_user_x": mpp.x if mpp else None,
        "mpp_user_y": mpp.y if mpp else None,
        "mpp_is_estimate": bool(mpp and is_estimate),
    }
    if not update_slide(slide_id, **values):
        raise InputError("There is no such slide; it may have been deleted.")


def delete_slide(slide_id: str) -> None:
    """Delete a slide with its uploaded file, tile cache and runs. A file imported in place is left alone.

    Raises:
        InputError: a run of the slide is still active, or there is no such slide.
        StorageError: a file cannot be removed; the row stays, so that it can be tried again.

    """
    row = get_slide(slide_id)
    runs = list_runs(slide_id)
    if any(r.status in ACTIVE for r in runs):
        raise InputError("A run of this slide is still at work; cancel it first.")
    update_slide(slide_id, status="deleting")
    for folder in [run_dir(r.id) for r in runs] + [tile_cache(slide_id), settings().slides_dir / slide_id]:
        _remove(folder)
    with session(write=True) as s:
        s.delete(s.merge(row))  # the runs go with it (ON DELETE CASCADE)


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as e:
        raise StorageError(f"A file of the slide cannot be removed ({e.strerror}); try again.") from e


def _clean_name(name: str) -> str:
    clean = " ".join(name.split())
    if not clean or len(clean) > NAME_LENGTH:
        raise InputError(f"A name has 1 to {NAME_LENGTH} characters; choose another.")
    return clean
