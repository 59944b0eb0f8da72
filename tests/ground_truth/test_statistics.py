from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from cmlcore.ground_truth import Record, statistics
from cmlcore.ground_truth.records import no_boxes


def record(source: str, *names: str) -> Record:
    boxes = np.zeros((len(names), 4), np.float32)
    return Record(Path("a.png"), source, None, frozenset(), boxes, names, (), None, no_boxes())


A = record("one", "net", "net", "erythrocyte", "my_cell")
B = record("two", "net", "leukocyte")
C = record("two")


def test_all_and_used_by_class():
    rows = statistics([A, B, C], [A, C])
    assert [r.key for r in rows] == ["erythrocyte", "leukocyte", "net", "my_cell", ""]
    net = rows[2]
    assert net.values() == ("NET", 3, 50.0, 2, 50.0, 2, 1, "one, two")
    assert rows[1].values() == ("Leukocyte", 1, 16.7, 0, 0.0, 1, 0, "two")
    assert rows[-1].values() == ("All", 6, 100.0, 4, 100.0, 3, 2, "one, two")


def test_wanted_classes_gather_their_sub_classes():
    rows = {r.key: r for r in statistics([A, B], [A, B], ("leukocyte", "thrombocyte"))}
    assert (rows["leukocyte"].cells, rows["leukocyte"].used) == (4, 4)
    assert (rows["erythrocyte"].cells, rows["erythrocyte"].used) == (1, 0)
    assert (rows["thrombocyte"].cells, rows["thrombocyte"].percent, rows["thrombocyte"].images) == (0, 0.0, 0)
    assert (rows[""].cells, rows[""].used) == (6, 4)


def test_nothing_is_a_table_of_nothing():
    (total,) = statistics([], [])
    assert total.values() == ("All", 0, 0.0, 0, 0.0, 0, 0, "")
    assert statistics([replace(A, names=())], [])[-1].images == 1
