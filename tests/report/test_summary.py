"""The summary's numbers."""

from __future__ import annotations

import json

import pytest

from cmlcore.cells import CellTable
from cmlcore.report import summary


def test_counts_percent_and_density_belong_together(cells: CellTable) -> None:
    s = json.loads(json.dumps(summary(cells, area_mm2=0.25)))
    assert s["cells"] == 104
    assert s["density_mm2"] == 104 / 0.25
    assert sum(c["count"] for c in s["classes"].values()) == 104
    assert sum(c["percent"] for c in s["classes"].values()) == pytest.approx(100)
    for c in s["classes"].values():
        assert c["density_mm2"] == c["count"] / 0.25
        assert 0 < c["mean_score"] < 1
    assert list(s["classes"]) == list(cells.classes)
