"""The hash that names a slide's content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

CHUNK = 8 << 20


def hash_slide(path: Path, progress: Callable[[float], None] | None = None) -> str:
    """SHA-256 of a slide: of the file, or of all files of a folder with their relative names.

    Args:
        path: a file, an ``.mrxs`` file with its folder beside it, or a folder (a DICOM series).
        progress: called with 0..1 as it goes.

    Raises:
        OSError: a file cannot be read.

    """
    files = _files(path)
    total = sum(f.stat().st_size for f in files) or 1
    digest, seen = hashlib.sha256(), 0
    for file in files:
        if len(files) > 1:
            digest.update(f"{file.relative_to(path.parent).as_posix()}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as f:
            while chunk := f.read(CHUNK):
                digest.update(chunk)
                seen += len(chunk)
                if progress:
                    progress(seen / total)
    return digest.hexdigest()


def slide_bytes(path: Path) -> int:
    """Size of all files of a slide."""
    return sum(f.stat().st_size for f in _files(path))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    companion = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and companion.is_dir():
        return [path, *sorted(p for p in companion.rglob("*") if p.is_file())]
    return [path]
