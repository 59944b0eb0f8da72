"""Numbers of one run, and of two side by side, as rows ready to show. Pure; no streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cmlcore.classes import CLASSES, UNIDENTIFIED, label


@dataclass(frozen=True, slots=True)
class ClassStats:
    """What one run says about one class; means are None where there is no cell."""

    key: str
    count: int
    mean_score: float | None
    mean_area_um2: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the count table. ``share`` is of the cells counted together; ``per_mm2`` of the area."""

    key: str | None  # None: all classes together
    name: str
    count: int
    share: float | None
    per_mm2: float | None
    mean_score: float | None
    mean_area_um2: float | None


def in_tree_order(keys: Sequence[str]) -> list[str]:
    """Keys as the class tree lists them; classes outside the tree follow, by name."""
    place = {k: i for i, k in enumerate(CLASSES)}
    return sorted(keys, key=lambda k: (place.get(k, len(place)), k))


UNIDENTIFIED_MEANS = "Unidentified: found, but the network is too unsure to say what it is."
"""For whoever meets the word on a page."""


def named(keys: Sequence[str]) -> tuple[str, ...]:
    """The classes without "unidentified": what is shown and counted unless somebody asks for more."""
    return tuple(k for k in keys if k != UNIDENTIFIED)


def count_lines(stats: Sequence[ClassStats], area_mm2: float) -> list[Line]:
    """Count table in the order of the class tree, the line of all classes last.

    Args:
        stats: one entry a class.
        area_mm2: area analysed; densities are None where it is 0.

    """
    total = sum(s.count for s in stats)
    by_key = {s.key: s for s in stats}
    lines = [_line(by_key[k], total, area_mm2) for k in in_tree_order(list(by_key))]
    return [*lines, _line(_together(stats), total, area_mm2, whole=True)]


def _line(s: ClassStats, total: int, area_mm2: float, *, whole: bool = False) -> Line:
    return Line(
        key=None if whole else s.key,
        name="All cells" if whole else label(s.key),
        count=s.count,
        share=s.count / total if total else None,
        per_mm2=s.count / area_mm2 if area_mm2 > 0 else None,
        mean_score=s.mean_score,
        mean_area_um2=s.mean_area_um2,
    )


def _together(stats: Sequence[ClassStats]) -> ClassStats:
    def mean(values: list[tuple[int, float | None]]) -> float | None:
        known = [(n, v) for n, v in values if n and v is not None]
        return sum(n * v for n, v in known) / sum(n for n, _ in known) if known else None

    return ClassStats(
        key="",
        count=sum(s.count for s in stats),
        mean_score=mean([(s.count, s.mean_score) for s in stats]),
        mean_area_um2=mean([(s.count, s.mean_area_um2) for s in stats]),
    )


@dataclass(frozen=True, slots=True)
class PairLine:
    """One class in two runs; a difference is second less first, None where either is unknown."""

    key: str | None
    name: str
    a: Line
    b: Line

    @property
    def count_diff(self) -> int:
        """Cells the second run has more."""
        return self.b.count - self.a.count

    @property
    def share_diff(self) -> float | None:
        """Difference of the shares, in 0..1."""
        return _minus(self.b.share, self.a.share)

    @property
    def per_mm2_diff(self) -> float | None:
        """Difference of the densities, cells per mm²."""
        return _minus(self.b.per_mm2, self.a.per_mm2)

    @property
    def score_diff(self) -> float | None:
        """Difference of the mean confidences."""
        return _minus(self.b.mean_score, self.a.mean_score)


def _minus(x: float | None, y: float | None) -> float | None:
    return None if x is None or y is None else x - y


def pair_lines(a: Sequence[Line], b: Sequence[Line]) -> list[PairLine]:
    """Lines of two count tables joined by class; a class one run does not know counts 0 there."""
    first, second = {x.key: x for x in a}, {x.key: x for x in b}
    keys = in_tree_order([k for k in {**first, **second} if k is not None])
    return [PairLine(k, _name(k), first.get(k) or _none(k), second.get(k) or _none(k)) for k in [*keys, None]]


def _name(key: str | None) -> str:
    return "All cells" if key is None else label(key)


def _none(key: str | None) -> Line:
    return Line(key, _name(key), 0, 0.0, 0.0, None, None)
