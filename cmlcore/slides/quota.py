"""Keeps the tile cache under its quota by deleting what was used longest ago."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

from cmlcore.settings import settings

LOW_WATER = 0.9  # of the quota, what a sweep leaves
SWEEP_SHARE = 0.02  # of the quota, written before the next sweep
TOUCH_S = 3600  # a file's time of use is kept to the hour

_lock = threading.Lock()
_unswept = 0


def touch(file: Path) -> None:
    """Note that a cached file is in use."""
    with contextlib.suppress(OSError):
        if time.time() - file.stat().st_mtime > TOUCH_S:
            os.utime(file)


def written(n: int) -> None:
    """Note that n bytes were added to the cache; sweeps it now and then."""
    global _unswept  # one count a process
    _unswept += n
    limit = settings().tile_cache_bytes
    if _unswept > SWEEP_SHARE * limit and _lock.acquire(blocking=False):
        try:
            _unswept = 0
            sweep(settings().tiles_dir, limit)
        finally:
            _lock.release()


def sweep(root: Path, limit: int) -> None:
    """Delete the files under ``root`` used longest ago until at most 0.9 of ``limit`` bytes are left."""
    files = []
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(OSError):
                file = Path(folder, name)
                status = file.stat()
                files.append((status.st_mtime, status.st_size, file))
    held = sum(size for _, size, _ in files)
    if held <= limit:
        return
    for _, size, file in sorted(files):
        if held <= LOW_WATER * limit:
            break
        with contextlib.suppress(OSError):
            file.unlink()
            held -= size
