"""Sets of single-cell images on the server, and weight files of backbones, where a page may name them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from cmlcore.jobs.data_roots import data_roots
from cmlcore.settings import settings
from cmlcore.single_cell.data import ANNOTATIONS, PARTS, SUFFIXES
from models.backbone_names import WEIGHT_SUFFIXES

_NO_CLASSES = frozenset(("images", "masks", "labels", "annotations", "weights", *PARTS))
_PEEKED = 40  # files of a folder that are looked at
_LISTED = 200


def found_cell_sets() -> dict[str, str]:
    """Paths below the data roots that hold a folder of images a class, with what they are taken for."""
    found: dict[str, str] = {}
    for root in data_roots():
        for path in (root, *sorted(_folders(root))):
            kind = kind_of_set(path)
            if kind is not None:
                found[str(path)] = kind
    return dict(islice(found.items(), _LISTED))


def kind_of_set(path: Path) -> str | None:
    """What a folder is taken for, told by its names alone; None where it is no set of single cells."""
    try:
        if any((f / ANNOTATIONS).is_file() for f in (path, *_folders(path))):
            return "Matek download"
        parts = [path / p for p in PARTS if (path / p).is_dir()]
        tops = parts or [path]
        named = [[f for f in _folders(top) if _holds_images(f)] for top in tops]
    except OSError:  # may not be read
        return None
    if any(f.name.casefold() in _NO_CLASSES for group in named for f in group):
        return None
    if max((len(group) for group in named), default=0) < 2:
        return None
    return "a folder a class, " + (", ".join(p.name for p in parts) if parts else "no parts")


def weight_files() -> list[Path]:
    """Files that may hold a backbone's weights: in ``CML_HOME/backbones`` and the roots' ``weights``."""
    folders = [settings().backbones_dir, *(r / "weights" for r in data_roots())]
    return [
        f
        for folder in folders
        if folder.is_dir()
        for f in sorted(folder.iterdir())
        if f.suffix in WEIGHT_SUFFIXES and f.is_file()
    ]


def likely_file(key: str, weights: str | None, files: list[Path]) -> Path | None:
    """The weight file that by its name is a backbone's: ``KEY.*``, or one that holds its library's name."""
    name = (weights or "").partition(".")[0]
    for path in files:
        if path.stem == key or (len(name) > 12 and name in path.stem):
            return path
    return None


def _folders(path: Path) -> Iterator[Path]:
    for f in path.iterdir():
        if not f.name.startswith((".", "__")) and not f.is_symlink() and f.is_dir():
            yield f


def _holds_images(folder: Path) -> bool:
    return any(f.suffix.lower() in SUFFIXES for f in islice(folder.iterdir(), _PEEKED))
