"""Naming a run's leukocytes: the same as one by one, in order, whatever lies close, with a flat memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_cells import run

from cmlcore import RESEARCH_USE
from cmlcore.cells import Filters
from cmlcore.errors import InputError, RunCancelledError
from cmlcore.geometry import Mpp, Region, Size
from cmlcore.single_cell import stream
from cmlcore.single_cell.classify import Answers
from cmlcore.single_cell.images import cut_field
from cmlcore.single_cell.named import counts, csv_stream, path_of, read_facts, write_named
from cmlcore.single_cell.stream import Named, leukocyte_classes, name_cells, read_cells
from cmlcore.slides.base import Scene, SlideInfo, SlideReader

SIDE, FIELD = 48, 22.0
SMEAR = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), dtype=np.uint8)


class ArrayReader(SlideReader):
    """A smear in memory; counts what is read."""

    def __init__(self, mpp: Mpp) -> None:
        self.info = SlideInfo("test", (Scene(0, Size(1200, 900)),), 1, mpp, None, "brightfield", 3, 8, "")
        self.reads: list[Region] = []

    def read(self, scene: int, region_l0: Region, downsample: int = 1) -> np.ndarray:
        self.reads.append(region_l0)
        r, d = region_l0, downsample
        assert r.x % d == 0
        assert r.y % d == 0
        out = np.full((r.h, r.w, 3), 255, np.uint8)
        inside = r.clipped(Region(0, 0, 1200, 900))
        out[inside.y - r.y : inside.y1 - r.y, inside.x - r.x : inside.x1 - r.x] = SMEAR[
            inside.y : inside.y1, inside.x : inside.x1
        ]
        h, w = -(-r.h // d), -(-r.w // d)
        whole = out[: h * d, : w * d].reshape(h, d, w, d, 3).mean(axis=(1, 3))
        return np.rint(whole).astype(np.uint8)

    def covered(self, scene: int) -> list[Region]:
        return [Region(0, 0, 1200, 900)]

    def close(self) -> None:
        pass


class Oracle:
    """Answers with the mean colour of the field, so that any wrong pixel shows."""

    class card:
        classes = ("monocyte", "basophil")
        field_um = FIELD

    side = SIDE

    def __init__(self) -> None:
        self.batches: list[int] = []

    def classify(self, fields: np.ndarray) -> Answers:
        self.batches.append(len(fields))
        mean = fields.reshape(len(fields), -1).mean(axis=1) / 255
        probs = np.stack([mean, 1 - mean], axis=1).astype(np.float32)
        return Answers(self.card.classes, probs, fields.std(axis=(1, 2, 3)).astype(np.float32) / 80)


def scattered(n: int) -> np.ndarray:
    """Places all over, beyond the edge too, and a dense corner."""
    rng = np.random.default_rng(2)
    far = rng.uniform((-20, -20), (1220, 920), (n - n // 3, 2))
    near = rng.uniform((300, 300), (380, 380), (n // 3, 2))
    return np.concatenate([far, near]).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("mpp", [Mpp(0.25, 0.25), Mpp(0.1, 0.1), Mpp(0.46, 0.46), Mpp(0.2, 0.21)])
def test_fields_read_in_bunches_equal_fields_read_alone(mpp: Mpp) -> None:
    xy = scattered(60)
    together = read_cells(ArrayReader(mpp), 0, xy, mpp, FIELD, SIDE)
    alone = np.concatenate([read_cells(ArrayReader(mpp), 0, p[None], mpp, FIELD, SIDE) for p in xy])
    assert np.array_equal(together, alone)


def test_a_field_is_what_a_plain_cut_gives_where_level_0_is_read() -> None:
    mpp = Mpp(0.3, 0.3)
    reader = ArrayReader(mpp)
    for x, y in scattered(20).clip((200, 200), (1000, 700)):
        plain = cut_field(SMEAR, 0.3, (x, y), SIDE, FIELD)
        assert (
            np.abs(read_cells(reader, 0, np.array([[x, y]]), mpp, FIELD, SIDE)[0].astype(int) - plain).max()
            <= 1
        )


def test_close_cells_cost_one_read_and_scattered_ones_no_more_than_their_own() -> None:
    mpp = Mpp(0.25, 0.25)
    reader = ArrayReader(mpp)
    xy = scattered(60)
    read_cells(reader, 0, xy, mpp, FIELD, SIDE)
    assert len(reader.reads) < 50
    own = sum(
        r.w * r.h
        for p in xy
        for a in [ArrayReader(mpp)]
        if read_cells(a, 0, p[None], mpp, FIELD, SIDE).any()
        for r in a.reads
    )
    assert sum(r.w * r.h for r in reader.reads) <= 1.5 * own


def test_a_run_is_named_in_order_and_as_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "CHUNK", 16)
    mpp, xy = Mpp(0.25, 0.25), scattered(70)
    kinds = ["erythrocyte" if i % 5 == 0 else "net" if i % 7 == 0 else "leukocyte" for i in range(70)]
    table = run(tmp_path, xy, mpp, kinds)
    assert leukocyte_classes(table) == ("leukocyte", "net")
    oracle, told = Oracle(), list[int]()
    chunks = list(name_cells(ArrayReader(mpp), 0, table, oracle, progress=told.append))  # type: ignore[arg-type]
    ids = np.concatenate([c.cell_ids for c in chunks])
    rows = table.arrow(("cell_id", "x_l0", "y_l0", "cls")).to_pylist()
    leukocytes = [r for r in rows if r["cls"] != "erythrocyte"]
    assert ids.tolist() == [r["cell_id"] for r in leukocytes]
    assert max(oracle.batches) == 16
    assert told == np.cumsum([len(c.cell_ids) for c in chunks]).tolist()
    plain = Oracle()
    slow = [
        plain.classify(
            read_cells(ArrayReader(mpp), 0, np.array([[r["x_l0"], r["y_l0"]]]), mpp, FIELD, SIDE)
        ).probs[0]
        for r in leukocytes
    ]
    assert np.array_equal(np.concatenate([c.answers.probs for c in chunks]), np.array(slow))


def test_filters_choose_other_cells(tmp_path: Path) -> None:
    mpp = Mpp(0.25, 0.25)
    table = run(tmp_path, scattered(20), mpp, ["erythrocyte"] * 5 + ["leukocyte"] * 15)
    only = Filters(classes=("erythrocyte",))
    found = list(name_cells(ArrayReader(mpp), 0, table, Oracle(), filters=only))  # type: ignore[arg-type]
    assert sum(len(c.cell_ids) for c in found) == 5


def test_a_cancel_ends_it(tmp_path: Path) -> None:
    mpp = Mpp(0.25, 0.25)
    table = run(tmp_path, scattered(20), mpp)
    with pytest.raises(RunCancelledError):
        list(name_cells(ArrayReader(mpp), 0, table, Oracle(), cancelled=lambda: True))  # type: ignore[arg-type]


def test_a_run_without_leukocytes_is_refused(tmp_path: Path) -> None:
    part = run(tmp_path, scattered(4), Mpp(0.25, 0.25))
    part.classes = ("erythrocyte", "thrombocyte")
    with pytest.raises(InputError, match="names no leukocytes"):
        leukocyte_classes(part)


def test_names_are_kept_beside_the_cells_and_leave_as_csv(tmp_path: Path) -> None:
    answers = Answers(
        ("monocyte", "basophil"),
        np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]], np.float32),
        np.array([0.5, 1.5, 0.25], np.float32),
    )
    path = path_of(tmp_path, "small")
    facts = {"classifier": "small", "sha256": "ab"}
    assert write_named(path, [Named(np.array([3, 5, 9]), answers)], answers.classes, facts) == 3
    assert read_facts(path) == (("monocyte", "basophil"), facts)
    assert counts(path) == [("basophil", 1), ("monocyte", 1), ("unidentified", 1)]
    lines = b"".join(csv_stream(path)).decode().splitlines()
    assert lines == [
        f"# {RESEARCH_USE}",
        "# classifier: small",
        "# sha256: ab",
        "cell_id,class,likeliest,probability,unlikeness,prob_monocyte,prob_basophil",
        "3,monocyte,monocyte,0.7500,0.5000,0.7500,0.2500",
        "5,unidentified,monocyte,0.5000,1.5000,0.5000,0.5000",
        "9,basophil,basophil,0.8750,0.2500,0.1250,0.8750",
    ]


def test_a_broken_off_naming_leaves_no_file(tmp_path: Path) -> None:
    path = path_of(tmp_path, "small")

    def broken() -> object:
        raise RunCancelledError("x")
        yield

    with pytest.raises(RunCancelledError):
        write_named(path, broken(), ("a",), {})  # type: ignore[arg-type]
    assert list(path.parent.iterdir()) == []
