"""Where on the server a page may name labelled images and weight files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cmlcore.errors import InputError
from cmlcore.settings import settings


def data_roots() -> list[Path]:
    """Folders that may be read: ``CML_DATA``, ``data`` and ``demo`` in CML_HOME, and the import folders."""
    wanted = settings()
    asked = [wanted.data, wanted.home / "data", wanted.home / "demo", *wanted.import_dirs]
    found = [p.expanduser().resolve() for p in asked if p is not None]
    return [p for p in dict.fromkeys(found) if p.is_dir()]


def checked_path(path: Path | str) -> Path:
    """A file or folder of the server that a page may name, with every link followed.

    Raises:
        InputError: it does not exist, or lies outside ``data_roots``; both read the same, so that nobody
            can feel their way about the server.

    """
    found = Path(path).expanduser()
    if found.is_absolute() and found.exists():
        real = found.resolve()
        if any(real.is_relative_to(root) for root in data_roots()):
            return real
    raise InputError(
        f"“{path}” is not below a folder that may be read; choose one below CML_DATA or an import folder."
    )


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """A set by its own name; a whole folder of sets, and one of several of a name, by its path."""
    roots, names = data_roots(), Counter(Path(p).name for p in paths)
    return {p: p if Path(p) in roots or names[Path(p).name] > 1 else Path(p).name for p in paths}
