"""What makes a difference: rows of a bench that differ in one thing, compared image by image.

Two intervals that overlap say little about two rows that answered the same images; the interval of their
difference does. Imports no torch.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmlcore.single_cell.metrics import draws

Bools = NDArray[np.bool_]
Row = dict[str, Any]
KINDS = ("tuning", "colours", "backbone")
"""Things in which two rows may differ to be compared."""
_PLAIN = "rgb"  # what other colour spaces are compared with


def packed(hits: Bools) -> str:
    """Which images were called right, bool ``(N,)``, as text: eight a byte, first image first, base64."""
    return base64.b64encode(np.packbits(hits).tobytes()).decode("ascii")


def unpacked(text: str, n: int) -> Bools:
    """``packed`` undone."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=n).astype(bool)


def contrasts(
    rows: Sequence[Row], groups: Sequence[object] | None, *, times: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """Every two rows that answered the same images and differ in one of ``KINDS``.

    Whole model is held against last layer, each colour space against RGB, each backbone against those
    before it. Of two rows of one backbone the images must have been equally large.

    Args:
        rows: of a bench, with ``hits``.
        groups: of all judged images, what is drawn together (patients); None, and rows of fewer images,
            draw images.
        times: bootstrap draws.
        seed: of the draws.

    Returns:
        Of each pair: changed (which of ``KINDS``), before and after (backbone, tuning, colours, side),
        images (judged), and difference, low, high: how much larger the share called right is after, with
        the 95 % interval of the paired bootstrap.

    """
    found = []
    drawn: dict[int, list[NDArray[np.int64]]] = {}
    for a, b in combinations((r for r in rows if r.get("hits")), 2):
        pair = _ordered(a, b)
        if pair is None:
            continue
        kind, before, after = pair
        n = int(after["judged"])
        if n not in drawn:
            drawn[n] = draws(n, groups if groups and len(groups) == n else None, times, seed)
        more = unpacked(after["hits"], n).astype(np.int64) - unpacked(before["hits"], n)
        low, high = np.percentile([more[d].mean() for d in drawn[n]], [2.5, 97.5])
        found.append(
            {
                "changed": kind,
                "before": _what(before),
                "after": _what(after),
                "images": n,
                "difference": float(more.mean()),
                "low": float(low),
                "high": float(high),
            }
        )
    return sorted(found, key=_place)


def _ordered(a: Row, b: Row) -> tuple[str, Row, Row] | None:
    """(What differs, the row it is compared with, the row) or None where the two are no pair."""
    differ = [k for k in KINDS if a[k] != b[k]]
    if len(differ) != 1 or a["judged"] != b["judged"]:
        return None
    kind = differ[0]
    if kind == "backbone":
        return kind, a, b
    if a["side"] != b["side"]:
        return None
    first = "last" if kind == "tuning" else _PLAIN
    if first not in (a[kind], b[kind]):
        return None
    return (kind, a, b) if a[kind] == first else (kind, b, a)


def _place(contrast: dict[str, Any]) -> tuple[int, str, str]:
    """The same change of different rows stands together."""
    kind = contrast["changed"]
    return KINDS.index(kind), contrast["before"][kind], contrast["after"][kind]


def _what(row: Row) -> dict[str, Any]:
    return {k: row[k] for k in ("backbone", "title", "tuning", "colours", "side")}
