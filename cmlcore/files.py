"""Files that appear whole or not at all, and small JSON objects kept in such files."""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FULL = "The disk is full; free some space and try again."
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""An OSError of these is a full disk, or a quota that is used up."""


@contextmanager
def whole_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a neighbour of ``path`` to write; it takes the name when the block ends well, else it goes.

    Two processes may write the same file at once: the last one wins, none is torn. The folder is made.

    Args:
        path: where the file shall be.
        durable: wait until the content is on the disk, so that a power cut leaves the old file or the new
            one; for what is written often and made anew easily, False spares the wait.

    Raises:
        OSError: the disk is full or the folder cannot be written.

    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        if durable:
            with part.open("rb") as f:
                os.fsync(f.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ``{}`` where there is none or it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, value: Any, *, durable: bool = True, compact: bool = False) -> None:
    """Write a JSON file whole or not at all; ``compact`` is for machines, long lists above all.

    Raises:
        OSError: as ``whole_file``.

    """
    with whole_file(path, durable=durable) as part:
        form: dict[str, Any] = {"separators": (",", ":")} if compact else {"indent": 1}
        part.write_text(json.dumps(value, ensure_ascii=False, **form) + "\n", encoding="utf-8")
