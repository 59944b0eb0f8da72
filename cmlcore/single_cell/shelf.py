"""Trained classifiers on disk: a card (JSON) and its weights (safetensors). Reading cards imports no torch.

Shipped ones lie in ``models/cards/classifiers`` and ``models/weights``, a user's own in
``CML_HOME/classifiers``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmlcore.errors import ModelError
from cmlcore.settings import settings
from cmlcore.store.ids import unused
from models.registry import SHIPPED, usable

_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class ClassifierCard:
    """The machine-readable part of a classifier's card.

    Attributes:
        key: name in files and the shell.
        title: name people read.
        backbone: key of ``models.classifiers.BACKBONES``.
        tuning: "last" or "whole".
        colours: key of ``cmlcore.single_cell.colours.SPACES``.
        classes: in the order of the network's outputs.
        field_um: side of the square around a cell that it sees.
        side: of that square in pixels.
        turns: ways to turn and mirror a cell whose features are averaged: 1, 2, 4 or 8.
        weights: the safetensors file.
        sha256: of it.
        extra: data, split, figures with intervals, limits.

    """

    key: str
    title: str
    backbone: str
    tuning: str
    colours: str
    classes: tuple[str, ...]
    field_um: float
    side: int
    weights: Path
    sha256: str
    turns: int = 1
    extra: dict[str, Any] = field(default_factory=dict, compare=False)

    def to_json(self) -> dict[str, Any]:
        """As its file holds it; the weights by name only."""
        own = {k: getattr(self, k) for k in _FIELDS}
        return {**own, "classes": list(self.classes), "weights": self.weights.name, **self.extra}


_FIELDS = ("key", "title", "backbone", "tuning", "colours", "classes", "field_um", "side", "sha256", "turns")


def user_folder() -> Path:
    """Where trained classifiers go."""
    return settings().home / "classifiers"


def read_card(path: Path, weights_dir: Path) -> ClassifierCard:
    """Read one card file.

    Raises:
        ModelError: it is not JSON, or a field is missing or impossible.

    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ModelError(f"The classifier card {path.name} cannot be read as JSON; write it again.") from e
    needed = (*(k for k in _FIELDS if k != "turns"), "weights")
    missing = [k for k in needed if not isinstance(raw, dict) or k not in raw]
    if missing:
        raise ModelError(f"The classifier card {path.name} lacks {', '.join(missing)}; add what is missing.")
    try:
        made = ClassifierCard(
            key=str(raw["key"]),
            title=str(raw["title"]),
            backbone=str(raw["backbone"]),
            tuning=str(raw["tuning"]),
            colours=str(raw["colours"]),
            classes=tuple(str(c) for c in raw["classes"]),
            field_um=float(raw["field_um"]),
            side=int(raw["side"]),
            weights=weights_dir / Path(str(raw["weights"])).name,  # .name: it may not point elsewhere
            sha256=str(raw["sha256"]).lower(),
            turns=int(raw.get("turns", 1)),  # cards were written without
            extra={k: v for k, v in raw.items() if k not in _FIELDS and k != "weights"},
        )
        _check(made)
    except (TypeError, ValueError) as e:
        raise ModelError(f"The classifier card {path.name} cannot be used: {e}.") from e
    return made


def _check(made: ClassifierCard) -> None:
    if not _KEY.fullmatch(made.key):
        raise ValueError("its key may hold only a-z, 0-9, dot, dash and underscore")
    if len(made.classes) < 2 or len(set(made.classes)) != len(made.classes):
        raise ValueError("it needs at least two classes, each named once")
    if made.turns not in (1, 2, 4, 8):
        raise ValueError("its turns must be 1, 2, 4 or 8")
    if made.tuning not in ("last", "whole"):
        raise ValueError("its tuning must be last or whole")
    if not 1 <= made.field_um <= 500 or not 32 <= made.side <= 2048:
        raise ValueError("its field must be 1 to 500 µm wide and 32 to 2048 pixels")
    if made.weights.suffix != ".safetensors":
        raise ValueError("its weights must be a safetensors file")


def _files() -> Iterator[tuple[Path, Path]]:
    for path in sorted((SHIPPED / "cards" / "classifiers").glob("*.json")):
        yield path, SHIPPED / "weights"
    for path in sorted(user_folder().glob("*.json")):
        yield path, user_folder()


def cards() -> list[ClassifierCard]:
    """Every usable classifier, shipped ones first; a broken card is left out with a warning in the log."""
    return usable(_files(), read_card)


def card(key: str) -> ClassifierCard:
    """The card of one classifier.

    Raises:
        ModelError: there is none of this key.

    """
    known = {c.key: c for c in cards()}
    if key not in known:
        have = f"available: {', '.join(known)}" if known else "train one with “cmlscope classify train”"
        raise ModelError(f"There is no classifier “{key}”; {have}.")
    return known[key]


def free_key(wanted: str) -> str:
    """A key made of a name, with a number behind it if that is taken.

    Raises:
        ModelError: nothing of the name can stand in a key.

    """
    base = re.sub(r"[^a-z0-9_.-]+", "-", wanted.casefold()).strip("-._")[:56]
    if not base:
        raise ModelError(f"“{wanted}” cannot be a classifier's key; use letters and digits.")
    return unused(base, {c.key for c in cards()})
