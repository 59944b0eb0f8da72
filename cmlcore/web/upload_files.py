"""An unfinished upload on disk: a folder with the bytes so far and a few facts."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from cmlcore.errors import InputError, SlideError, StorageError
from cmlcore.files import NO_SPACE, write_json
from cmlcore.settings import settings
from cmlcore.web.answers import NotFoundError

HEAD_BYTES = 132  # enough for every format's first bytes; DICOM's come last
SPARE_BYTES = 256 << 20  # left free for the database and the tile cache
_MANY_FILES = frozenset({"mrxs", "vms", "vmu"})  # useless without the files beside them
KEPT_S = 7 * 24 * 3600.0
_ID = re.compile(r"[0-9a-f]{32}")
_EXTENSION = re.compile(r"[a-z0-9]{1,5}")
_BEGINNINGS = (
    b"ZISRAWFILE",
    *(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),  # TIFF and BigTIFF, both byte orders: SVS, NDPI, BIF, OME-TIFF
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",  # JPEG, and MIRAX
)


@dataclass
class PartialUpload:
    """One upload. ``slide`` is the slide it became, None until every byte is there."""

    id: str
    folder: Path
    length: int
    extension: str
    slide: str | None

    @property
    def data(self) -> Path:
        """The bytes so far."""
        return self.folder / "data"

    @property
    def offset(self) -> int:
        """How many bytes have arrived."""
        return self.length if self.slide else self.data.stat().st_size

    def append(self, piece: bytes) -> None:
        """Write bytes to the end.

        Raises:
            StorageError: the disk is full; what was written before stays.

        """
        try:
            with self.data.open("ab", buffering=0) as f:
                left = memoryview(piece)
                while left:
                    left = left[f.write(left) :]
        except OSError as e:
            if e.errno in NO_SPACE:
                raise StorageError(
                    "The disk is full; what has arrived is kept. Free some space and choose “Try again”."
                ) from e
            raise StorageError(f"The upload cannot be written ({e.strerror}); try again.") from e

    @property
    def _finished(self) -> Path:
        return self.folder / (f"slide.{self.extension}" if self.extension else "slide")

    def named(self) -> Path:
        """The finished file under a neutral name with the extension the user's file had."""
        return self.data.replace(self._finished)

    def unnamed(self) -> bool:
        """Take ``named`` back where nobody has taken the file; False if the bytes are not here any more."""
        if self._finished.exists():
            self._finished.replace(self.data)
        return self.data.exists()

    def arrived(self, slide: str) -> None:
        """Remember the slide; the bytes have been moved to it."""
        self.slide = slide
        self._save()

    def remove(self) -> None:
        """Forget the upload and its bytes."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _save(self) -> None:
        facts = {"length": self.length, "extension": self.extension, "slide": self.slide}
        write_json(self.folder / "upload.json", facts, durable=False)


def create(length: int, extension: str) -> PartialUpload:
    """Begin an upload of ``length`` bytes.

    Raises:
        InputError: the file is empty, or only a part of a slide.
        StorageError: the disk has no room for it.

    """
    if length == 0:
        raise InputError("The file is empty; choose another.")
    if extension.lower() in _MANY_FILES:
        raise InputError(
            "A slide of this kind is made of several files; put all of them into an import folder instead."
        )
    root = settings().uploads_dir
    extension = extension.lower()
    key = secrets.token_hex(16)
    upload = PartialUpload(
        key, root / key, length, extension if _EXTENSION.fullmatch(extension) else "", None
    )
    try:
        upload.folder.mkdir(parents=True)
        free = shutil.disk_usage(root).free
        if free < length + SPARE_BYTES:
            upload.remove()
            raise StorageError(
                f"The file needs {length / 1e9:.3g} GB and the disk has {free / 1e9:.3g} GB free; "
                "free some space and try again."
            )
        upload.data.touch()
        upload._save()
    except OSError as e:
        upload.remove()
        raise StorageError(f"The upload folder cannot be written ({e.strerror}); free some space.") from e
    return upload


def find(upload_id: str) -> PartialUpload:
    """An upload by its id.

    Raises:
        NotFoundError: there is none.

    """
    folder = settings().uploads_dir / upload_id
    try:
        if not _ID.fullmatch(upload_id):
            raise FileNotFoundError
        facts = json.loads((folder / "upload.json").read_text())
    except FileNotFoundError:
        raise NotFoundError("There is no such upload; start it again.") from None
    upload = PartialUpload(upload_id, folder, facts["length"], facts["extension"], facts["slide"])
    # Where the server died while it handed the file over, the bytes have another name, or are the slide's.
    if upload.slide is None and not upload.data.exists() and not upload.unnamed():
        upload.remove()
        raise NotFoundError("This upload has ended; where its slide is not in the list, start it again.")
    return upload


def sweep(older_than_s: float = KEPT_S) -> int:
    """Remove uploads nobody has touched for so long; returns how many."""
    if not settings().uploads_dir.is_dir():
        return 0
    limit = time.time() - older_than_s
    stale = [f for f in settings().uploads_dir.iterdir() if f.is_dir() and _touched(f) < limit]
    for folder in stale:
        shutil.rmtree(folder, ignore_errors=True)
    return len(stale)


def _touched(folder: Path) -> float:
    return max((p.stat().st_mtime for p in folder.iterdir()), default=folder.stat().st_mtime)


def is_slide_file(path: Path) -> bool:
    """Whether a file begins like one of the formats that can be opened; says nothing about the rest of it."""
    try:
        with path.open("rb") as f:
            head = f.read(132)
    except OSError:
        return False
    return head.startswith(_BEGINNINGS) or head[128:] == b"DICM"


def check_head(path: Path) -> None:
    """Refuse a file by its first bytes.

    Raises:
        SlideError: it is none of the formats that can be opened.

    """
    if not is_slide_file(path):
        raise SlideError(
            "This file is none of the slide formats that can be opened: "
            "CZI, SVS, NDPI, BIF, DICOM, OME-TIFF, TIFF, PNG or JPEG."
        )
