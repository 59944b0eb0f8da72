"""Single-cell pictures that somebody drops: a batch is a folder of uploads until a job takes it.

Every file lies in a numbered folder of its own, under its own name: the name is needed in the sentences and
the CSV for the person who dropped it, and two files may bear the same.
"""

from __future__ import annotations

import re
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from cmlcore.errors import InputError
from cmlcore.settings import settings

FILE_BYTES = 64 << 20
"""A single cell is far smaller; what is larger is no picture of one."""
ZIP_BYTES = 2 << 30
UNPACKED_BYTES = 8 << 30
MOST = 20_000
"""Pictures in one job."""
_ID = re.compile(r"[0-9a-f]{32}")
_NAME_CHARS = 120
_CHUNK = 1 << 20


def new_batch() -> str:
    """Begin a batch; the folder goes with the next sweep of old uploads if nobody takes it.

    Raises:
        OSError: the upload folder cannot be written.

    """
    key = secrets.token_hex(16)
    batch_dir(key).mkdir(parents=True)
    return key


def batch_dir(key: str) -> Path:
    """Folder of a batch; may not exist.

    Raises:
        InputError: this cannot be the id of one.

    """
    if not _ID.fullmatch(key):
        raise InputError("There is no such batch of images; drop them once more.")
    return settings().uploads_dir / f"pictures-{key}"


def place_for(key: str, number: int, name: str) -> Path:
    """Where the file of this number goes; its folder is made.

    Raises:
        InputError: there is no such batch, or it is full.
        OSError: the upload folder cannot be written.

    """
    folder = batch_dir(key)
    if not folder.is_dir():
        raise InputError("There is no such batch of images; drop them once more.")
    if not 0 <= number < MOST:
        raise InputError(f"One job takes {MOST:,} images at most; name the others in a second one.")
    own = folder / f"{number:06d}"
    own.mkdir(exist_ok=True)
    return own / safe_name(name)


def safe_name(name: str) -> str:
    """The last part of a file's name, without what could lead elsewhere; long ones keep their ending."""
    last = name.replace("\\", "/").rpartition("/")[2]
    plain = "".join(c for c in last if c.isprintable()).strip(" .")
    if len(plain) > _NAME_CHARS:
        stem, suffix = PurePosixPath(plain).stem, PurePosixPath(plain).suffix[:12]
        plain = stem[: _NAME_CHARS - len(suffix)] + suffix
    return plain or "image"


def is_zip(path: Path) -> bool:
    """Whether a file is an archive, by its name."""
    return path.suffix.lower() == ".zip"


def dropped(folder: Path) -> list[Path]:
    """Files of a batch in the order in which they were dropped, those of unpacked archives in their place."""
    return [f for own in sorted(folder.iterdir()) if own.is_dir() for f in _inside(own)]


def _inside(own: Path) -> Iterator[Path]:
    for path in sorted(own.iterdir()):
        if path.is_dir():
            yield from _inside(path)
        elif not path.name.endswith(".part"):
            yield path


def unpack(folder: Path, cancelled: Callable[[], bool] = lambda: False) -> list[tuple[str, str]]:
    """Unpack the archives of a batch, each beside itself, and remove them.

    Returns:
        Archives and members that were left out, each with the sentence that says why.

    """
    refused: list[tuple[str, str]] = []
    free = MOST
    for path in [p for p in dropped(folder) if is_zip(p)]:
        try:
            with zipfile.ZipFile(path) as archive:
                free -= _members(archive, path.parent, free, refused, cancelled)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
            refused.append((path.name, f"{path.name} is a damaged or locked archive; pack it once more."))
        path.unlink(missing_ok=True)
    return refused


def _members(
    archive: zipfile.ZipFile,
    into: Path,
    most: int,
    refused: list[tuple[str, str]],
    cancelled: Callable[[], bool],
) -> int:
    """Write the files of an archive, sorted by their names there; returns how many."""
    taken, room = 0, UNPACKED_BYTES
    for info in sorted(archive.infolist(), key=lambda i: i.filename):
        parts = PurePosixPath(info.filename.replace("\\", "/")).parts
        if info.is_dir() or any(p.startswith((".", "__MACOSX")) for p in parts):
            continue
        name = safe_name(info.filename)
        if taken == most or room < info.file_size or cancelled():
            refused.append((name, f"{name} and what follows in its archive is too much for one job."))
            break
        if info.file_size > FILE_BYTES:
            refused.append((name, f"{name} is too large for a picture of one cell; cut the cells out first."))
            continue
        own = into / f"{taken:06d}"
        own.mkdir()
        room -= _write(archive, info, own / name)
        taken += 1
    return taken


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> int:
    """Unpack one member; an archive that lies about its size is cut there."""
    size = 0
    with archive.open(info) as packed, path.open("wb") as out:
        while (piece := packed.read(_CHUNK)) and size <= FILE_BYTES:
            size += out.write(piece)
    return size
