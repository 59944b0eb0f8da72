"""From a file taken in to a slide that can be looked at: checked, hashed, converted where that is needed."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cmlcore import store
from cmlcore.errors import CmlError, InputError, SlideError
from cmlcore.jobs.hashing import hash_slide
from cmlcore.slides import needs_preparing, probe
from cmlcore.slides.facts import info_to_json
from cmlcore.store import Slide

log = logging.getLogger(__name__)
TELL_S = 0.5  # between two words about progress


class StoppedError(Exception):
    """The service ends, or the slide is being deleted; the work is begun again or not needed."""


def work_slide(slide: Slide, stopping: Callable[[], bool]) -> None:
    """Do what the slide's status asks for. Called again after a restart, it goes on or begins anew.

    Raises:
        StorageError: the database or a folder cannot be used at present; try again later.

    """
    try:
        if slide.status == "deleting":
            _delete(slide)
        elif slide.status == "checking":
            _check(slide, stopping)
        elif slide.status == "converting":
            _convert(slide, stopping)
    except StoppedError:
        return


def _check(slide: Slide, stopping: Callable[[], bool]) -> None:
    path = Path(slide.path)
    try:
        info = probe(path)
        if not info.scenes:
            raise SlideError("The file holds no image.")
        sha256 = hash_slide(path, _teller(slide.id, stopping))
    except SlideError as e:
        _refuse(slide.id, str(e))
        return
    except OSError as e:
        log.warning("Slide %s cannot be read: %s", slide.id, e.strerror)
        _refuse(
            slide.id, "The file cannot be read; see that it is there and may be read, then check it again."
        )
        return
    slow = needs_preparing(info, store.tile_cache(slide.id))
    store.update_slide(
        slide.id,
        facts=info_to_json(info),
        format=info.format,
        sha256=sha256,
        status="converting" if slow else "ready",
        progress=0.0 if slow else 1.0,
        message="",
    )


def _convert(slide: Slide, stopping: Callable[[], bool]) -> None:
    tell = _teller(slide.id, stopping)
    call = [sys.executable, "-m", "cmlcore.jobs.convert_child", slide.path, str(store.tile_cache(slide.id))]
    word = ""
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            for line in child.stdout or ():
                word = line.strip()
                if word[:1].isdigit():
                    tell(float(word))
        finally:
            child.kill()  # it has ended by itself, or is not wanted any more
    if word == "done":
        store.update_slide(slide.id, status="ready", progress=1.0, message="")
    elif stopping():
        return
    else:
        _refuse(
            slide.id, word.removeprefix("error ") if word.startswith("error ") else "Converting broke off."
        )


def _delete(slide: Slide) -> None:
    if any(r.status in store.ACTIVE for r in store.list_runs(slide.id)):
        return  # its runs are being cancelled
    try:
        store.delete_slide(slide.id)
    except InputError:
        return  # gone already


def _refuse(slide_id: str, why: str) -> None:
    store.update_slide(slide_id, status="refused", message=why, progress=0.0)


def _teller(slide_id: str, stopping: Callable[[], bool]) -> Callable[[float], None]:
    """Writes progress into the row now and then, and ends the work when it is not wanted any more."""
    told_s = 0.0

    def tell(share: float) -> None:
        nonlocal told_s
        if stopping():
            raise StoppedError
        if time.monotonic() - told_s > TELL_S:
            told_s = time.monotonic()
            if not store.update_slide(slide_id, progress=share):
                raise StoppedError  # it is being deleted

    return tell


def pending() -> list[Slide]:
    """Slides with something left to do, oldest first."""
    return store.list_slides("deleting", "checking", "converting")[::-1]


def try_slide(slide: Slide, stopping: Callable[[], bool]) -> bool:
    """``work_slide``; False if it could not be done at present (said in the log)."""
    try:
        work_slide(slide, stopping)
    except (CmlError, OSError) as e:
        log.warning("Slide %s: %s", slide.id, e)
        return False
    return True
