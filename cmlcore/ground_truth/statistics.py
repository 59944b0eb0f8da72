"""How many cells of each class there are, and how many of them are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cmlcore.classes import CLASSES, label
from cmlcore.ground_truth.records import Record, class_index
from cmlcore.ground_truth.sets import instances_in_mask

HEADER = (
    "class",
    "all cells",
    "all %",
    "used cells",
    "used %",
    "all images",
    "used images",
    "sources",
)


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class. Per cents are shares of the cells in that column; images are those that show the class."""

    key: str
    label: str
    cells: int
    percent: float
    used: int
    used_percent: float
    images: int
    used_images: int
    sources: tuple[str, ...]

    def values(self) -> tuple[str | int | float, ...]:
        """The row in the order of ``HEADER``, per cents rounded to one decimal."""
        return (
            self.label,
            self.cells,
            round(self.percent, 1),
            self.used,
            round(self.used_percent, 1),
            self.images,
            self.used_images,
            ", ".join(self.sources),
        )


def names_of(record: Record) -> tuple[str, ...]:
    """Class key of each cell of a record, read from its mask file where that is where they are.

    Raises:
        InputError: the mask file cannot be read.

    """
    return record.names if record.mask is None else instances_in_mask(record)[1]


def statistics(
    records_all: Sequence[Record], records_used: Sequence[Record], classes: Sequence[str] | None = None
) -> list[ClassRow]:
    """The table of classes, by the tree's order, the user's own after them; the last row is the total.

    Args:
        records_all: every image there is.
        records_used: those that a training takes.
        classes: count each cell as the nearest of these; cells that are none of them are in "all" by their
            own name, and not in "used". None: every name is used.

    Raises:
        InputError: a mask file cannot be read.

    """
    wanted = None if classes is None else tuple(classes)
    names: dict[int, tuple[str, ...]] = {}
    by_mask: dict[Path | None, tuple[str, ...]] = {}  # a record is often in both lists, as two objects
    for r in (*records_all, *records_used):
        if r.mask not in by_mask or r.mask is None:
            by_mask[r.mask] = names_of(r)
        names[id(r)] = by_mask[r.mask]

    def count(
        records: Sequence[Record], used: bool
    ) -> tuple[Counter[str], Counter[str], dict[str, set[str]]]:
        cells: Counter[str] = Counter()
        images: Counter[str] = Counter()
        sources: dict[str, set[str]] = {}
        for r in records:
            here = Counter(k for n in names[id(r)] if (k := _row_of(n, wanted, used)) is not None)
            cells.update(here)
            images.update(here.keys())
            for k in here:
                sources.setdefault(k, set()).add(r.source)
        return cells, images, sources

    cells, images, sources = count(records_all, used=False)
    used, used_images, _ = count(records_used, used=True)
    total, total_used = cells.total(), used.total()
    order = list(CLASSES)
    keys = sorted(
        {*cells, *used, *(wanted or ())}, key=lambda k: (order.index(k) if k in CLASSES else len(order), k)
    )
    rows = [
        ClassRow(
            k,
            label(k),
            cells[k],
            _percent(cells[k], total),
            used[k],
            _percent(used[k], total_used),
            images[k],
            used_images[k],
            tuple(sorted(sources.get(k, ()))),
        )
        for k in keys
    ]
    everywhere = tuple(sorted({r.source for r in records_all}))
    whole = (total, _percent(total, total), total_used, _percent(total_used, total_used))
    return [*rows, ClassRow("", "All", *whole, len(records_all), len(records_used), everywhere)]


def _row_of(name: str, wanted: tuple[str, ...] | None, used: bool) -> str | None:
    if wanted is None:
        return name
    i = class_index(name, wanted)
    return wanted[i] if i >= 0 else None if used else name


def _percent(n: int, of: int) -> float:
    return 100 * n / of if of else 0.0
