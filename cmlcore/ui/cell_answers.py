"""The answers of a naming, held in memory to be filtered, sorted and counted. No streamlit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cmlcore.classes import UNIDENTIFIED, color, label
from cmlcore.jobs.classify import ANSWERS, NamingResult, naming_result
from cmlcore.single_cell import named
from cmlcore.ui import format as fmt
from cmlcore.ui import widgets
from cmlcore.ui.tables import in_tree_order

Order = Literal["unlike", "doubtful", "sure", "class", "given"]
ORDERS: dict[Order, str] = {
    "unlike": "Most unlike the training cells first",
    "doubtful": "Least probable first",
    "sure": "Most probable first",
    "class": "By class",
    "given": "In the order given",
}
TOP = 3
"""Classes whose probability stands on a cell's card."""
_Z = 1.959964  # of 95 %


@dataclass(frozen=True, slots=True)
class Answers:
    """A naming's answers, a row a cell.

    Attributes:
        result: facts of the whole.
        cell_ids: int64 ``(N,)``, the run's, or places in ``result.files``.
        cls: the answer, ``unidentified`` among them.
        best: the likeliest class.
        probs: float32 ``(N, C)``.
        unlike: float32 ``(N,)``, above 1 is unknown.

    """

    result: NamingResult
    cell_ids: NDArray[np.int64]
    cls: NDArray[np.str_]
    best: NDArray[np.str_]
    probs: NDArray[np.float32]
    unlike: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.cell_ids)

    @property
    def score(self) -> NDArray[np.float32]:
        """Probability of the likeliest class, ``(N,)``."""
        return np.asarray(self.probs.max(axis=1), np.float32)

    def counts(self) -> dict[str, int]:
        """Cells by answer, in the order of the class tree, unidentified last; classes without a cell too."""
        keys, n = np.unique(self.cls, return_counts=True)
        found = dict(zip(keys.tolist(), n.tolist(), strict=True))
        order = [*in_tree_order([k for k in self.result.classes if k != UNIDENTIFIED]), UNIDENTIFIED]
        return {k: found.get(k, 0) for k in order}

    def rows(self, classes: Sequence[str], least: float, most: float, order: Order) -> NDArray[np.int64]:
        """Rows whose answer is among ``classes`` and whose score lies in the bounds, sorted."""
        score = self.score
        keep = np.flatnonzero(np.isin(self.cls, classes) & (score >= least - 1e-6) & (score <= most + 1e-6))
        if order == "unlike":
            keys = -self.unlike[keep]
        elif order == "doubtful":
            keys = score[keep]
        elif order == "sure":
            keys = -score[keep]
        elif order == "class":
            place = {k: i for i, k in enumerate(self.counts())}
            keys = np.array([place[k] for k in self.cls[keep].tolist()], np.float32) - score[keep]
        else:
            keys = np.zeros(len(keep), np.float32)
        return np.asarray(keep[np.argsort(keys, kind="stable")], np.int64)

    def ranked(self, row: int) -> list[tuple[str, float]]:
        """All classes with their probability for one cell, likeliest first."""
        order = np.argsort(-self.probs[row], kind="stable")
        return [(self.result.classes[i], float(self.probs[row, i])) for i in order]

    def name(self, row: int) -> str:
        """The picture's file name; of a run's cell its number."""
        files = self.result.files
        return files[int(self.cell_ids[row])] if files else f"Cell {int(self.cell_ids[row])}"

    def shown(self, rows: NDArray[np.int64], url: str) -> list[dict[str, Any]]:
        """Rows as the gallery takes them; ``url`` has a place ``{row}``."""
        return [self._card(int(r), url.format(row=int(r))) for r in rows]

    def _card(self, row: int, url: str) -> dict[str, Any]:
        key = str(self.cls[row])
        return {
            "row": row,
            "url": url,
            "name": self.name(row),
            "unknown": key == UNIDENTIFIED,
            "label": label(key),
            "color": color(key),
            "unlike": unlike_text(float(self.unlike[row])),
            "top": [
                {"label": label(k), "color": color(k), "value": p, "text": fmt.percent(p, 0)}
                for k, p in self.ranked(row)[:TOP]
            ],
        }


def read_answers(folder: Path) -> Answers:
    """The answers of a naming that is done.

    Raises:
        InputError: it is not done.
        RunError: its table is damaged.

    """
    result = naming_result(folder)
    ids, cls, best, unlike = [], [], [], []
    probs: list[NDArray[np.float32]] = [np.empty((0, len(result.classes)), np.float32)]
    for batch in named.batches(folder / ANSWERS):
        ids.append(np.asarray(batch["cell_id"]).astype(np.int64))
        cls.append(np.asarray(batch["cls"].to_pylist(), np.str_))
        best.append(np.asarray(batch["best"].to_pylist(), np.str_))
        unlike.append(np.asarray(batch["unlike"]).astype(np.float32))
        probs.append(np.asarray(batch["probs"].flatten(), np.float32).reshape(batch.num_rows, -1))
    return Answers(
        result,
        np.concatenate(ids or [np.empty(0, np.int64)]),
        np.concatenate(cls or [np.empty(0, np.str_)]),
        np.concatenate(best or [np.empty(0, np.str_)]),
        np.concatenate(probs),
        np.concatenate(unlike or [np.empty(0, np.float32)]),
    )


def unlike_text(score: float) -> str:
    """The score and its threshold in one."""
    return f"{unlike_number(score)} {'>' if score > 1 else '≤'} 1"


def unlike_number(score: float) -> str:
    """The score alone; it grows without bounds, and beyond a hundred its size says nothing more."""
    return "over 100" if score > 100 else fmt.decimal(score, 2)


def wilson(n: int, total: int) -> tuple[float, float]:
    """95 % interval of a share after Wilson (JASA 22:209-212, 1927)."""
    if not total:
        return 0.0, 1.0
    p, z2 = n / total, _Z**2
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    arm = _Z / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    return max(0.0, middle - arm), min(1.0, middle + arm)


def differential_html(counts: dict[str, int]) -> str:
    """The differential: cells, per cent of the named ones with its interval, unknown ones apart."""
    sure = {k: n for k, n in counts.items() if k != UNIDENTIFIED and n}
    total, unknown = sum(sure.values()), counts.get(UNIDENTIFIED, 0)
    rows = []
    for key, n in sure.items():
        low, high = wilson(n, total)
        rows.append(
            [
                widgets.chip(key),
                fmt.count(n),
                fmt.percent(n / total),
                f"{fmt.decimal(100 * low)} to {fmt.decimal(100 * high)}",
            ]
        )
    if unknown:
        rows.append([widgets.chip(UNIDENTIFIED), fmt.count(unknown), fmt.NONE, ""])
    rows.append(["All cells", fmt.count(total + unknown), "", ""])
    return widgets.table_html(["Class", "Cells", "Per cent of the named", "95 % interval"], rows)
