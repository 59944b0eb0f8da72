"""Single-cell pictures that somebody hands in: each named or refused with a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cmlcore.errors import InputError
from cmlcore.single_cell.images import cut_field, read_image
from cmlcore.single_cell.named import notice, row
from cmlcore.single_cell.shelf import ClassifierCard

if TYPE_CHECKING:
    from cmlcore.single_cell.classify import Answers, CellClassifier

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture and what is said of it; ``why`` is the sentence where it could not be used.

    Attributes:
        name: the file's name.
        cls: the answer, "unidentified" where the cell is unlike the training cells; "" if refused.
        best: the likeliest class.
        unlike: distance from the training cells, above 1 is unidentified.
        probs: of the classifier's classes.

    """

    name: str
    cls: str = ""
    best: str = ""
    unlike: float = 0.0
    probs: tuple[float, ...] = ()
    why: str = ""


def name_pictures(
    paths: Sequence[Path],
    mpp: float,
    model: CellClassifier,
    progress: Callable[[int, int], None] | None = None,
    seen: Callable[[NDArray[np.uint8]], None] | None = None,
) -> list[Picture]:
    """Name pictures, in the order given; the fields of a few hundred are held at once.

    Args:
        paths: image files, a cell in the middle of each.
        mpp: µm per pixel of them.
        model: a loaded classifier.
        progress: told (done, all).
        seen: given the fields of the pictures that can be used, in their order, some at a time.

    """
    out: list[Picture] = []
    for start in range(0, len(paths), _CHUNK):
        group = paths[start : start + _CHUNK]
        fields: list[NDArray[np.uint8]] = []
        made: list[Picture | None] = []
        for path in group:
            try:
                fields.append(cut_field(read_image(path), mpp, None, model.side, model.card.field_um))
                made.append(None)
            except InputError as e:
                made.append(Picture(path.name, why=str(e)))
        if seen is not None and fields:
            seen(np.stack(fields))
        named = iter(_pictures([p for p, m in zip(group, made, strict=True) if m is None], fields, model))
        out += [m or next(named) for m in made]
        if progress is not None:
            progress(len(out), len(paths))
    return out


def _pictures(
    paths: Sequence[Path], fields: Sequence[NDArray[np.uint8]], model: CellClassifier
) -> list[Picture]:
    if not fields:
        return []
    answers: Answers = model.classify(np.stack(fields))
    return [
        Picture(p.name, cls, best, float(u), tuple(float(v) for v in probs))
        for p, cls, best, u, probs in zip(
            paths, answers.named, answers.best, answers.unlike, answers.probs, strict=True
        )
    ]


def pictures_csv(rows: Sequence[Picture], card: ClassifierCard) -> Iterator[bytes]:
    """The answers as CSV, refused pictures with their sentence."""
    yield notice({"classifier": card.key, "sha256": card.sha256})
    yield row(
        [
            "image",
            "class",
            "likeliest",
            "probability",
            "unlikeness",
            *(f"prob_{c}" for c in card.classes),
            "note",
        ]
    )
    for r in rows:
        numbers = [f"{v:.4f}" for v in (max(r.probs), r.unlike, *r.probs)] if r.probs else []
        yield row([r.name, r.cls, r.best, *(numbers or [""] * (2 + len(card.classes))), r.why])
