"""The cell layer over HTTP: every cell once, outlines exact, the same packed or plain, growing or done."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from cmlcore import store
from cmlcore.cells import CellTable
from cmlcore.report import overlay_centres, overlay_tile

from .conftest import CLASSES, add_run, cell_rows, write_cells

HEADER = struct.Struct("<4sHHIIffII")


def unpack(body: bytes) -> dict[int, tuple[str, np.ndarray]]:
    """Cells of an outline tile by id: class and level-0 outline; written from the layout's text."""
    magic, version, kind, n, v, unit, _, _, _ = HEADER.unpack_from(body)
    assert (magic, version, kind) == (b"CMLO", 1, 0)
    at = HEADER.size

    def take(dtype: str, count: int) -> np.ndarray:
        nonlocal at
        part = np.frombuffer(body, dtype, count, at)
        at += part.nbytes
        return part

    ids, centre = take("<f8", n), take("<f4", 2 * n).reshape(n, 2)
    first, vertex = take("<u4", n + 1), take("<i2", 2 * v).reshape(v, 2)
    _, cls = take("u1", n), take("u1", n)
    assert at == len(body)
    return {
        int(ids[i]): (CLASSES[cls[i]], centre[i] + unit * vertex[first[i] : first[i + 1]]) for i in range(n)
    }


def all_tiles(client: TestClient, run: store.Run, index: dict[str, Any]) -> dict[int, tuple[str, np.ndarray]]:
    cells = {}
    for gx, gy, count, _ in index["tiles"]:
        found = unpack(client.get(f"/overlay/{run.id}/{gx}_{gy}.bin").content)
        assert len(found) == count
        assert not cells.keys() & found.keys()
        cells |= found
    return cells


def test_every_cell_comes_once_with_its_outline(client: TestClient, run: store.Run) -> None:
    index = client.get(f"/overlay/{run.id}/index.json").json()
    assert index["count"] == 230
    assert index["growing"] is False
    assert sum(c["count"] for c in index["classes"]) == 230
    cells = all_tiles(client, run, index)
    expected = {r["cell_id"]: r for r in (*cell_rows(0, 150, 0), *cell_rows(1, 80, 1))}
    assert cells.keys() == expected.keys()
    for key, (cls, outline) in cells.items():
        assert cls == expected[key]["cls"]
        np.testing.assert_array_equal(outline.ravel(), np.asarray(expected[key]["outline_l0"], np.float32))


def test_packed_and_plain_are_the_same_bytes(client: TestClient, run: store.Run) -> None:
    table = CellTable(store.run_dir(run.id))
    for name, expected in (("0_0", overlay_tile(table, 0, 0)), ("centres", overlay_centres(table))):
        url = f"/overlay/{run.id}/{name}.bin"
        for _ in range(2):  # made, then kept
            packed = client.get(url, headers={"Accept-Encoding": "gzip"})
            assert packed.headers["content-encoding"] == "gzip"
            assert packed.content == expected
            plain = client.get(url, headers={"Accept-Encoding": "identity"})
            assert "content-encoding" not in plain.headers
            assert plain.content == expected
            assert "immutable" in packed.headers["cache-control"]
    kept = store.run_dir(run.id) / "overlay" / "0_0.bin.gz"
    assert gzip.decompress(kept.read_bytes()) == overlay_tile(table, 0, 0)


def test_an_empty_square_is_empty(client: TestClient, run: store.Run) -> None:
    assert unpack(client.get(f"/overlay/{run.id}/77_88.bin").content) == {}


def test_a_run_at_work_shows_what_is_there(
    client: TestClient, slide: store.Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cmlcore.web.run_tables.FRESH_S", -1.0)
    row = add_run(slide, status="running", stage="segmenting", blocks_total=2)
    url = f"/overlay/{row.id}/index.json"
    first = client.get(url).json()
    assert (first["count"], first["growing"], first["tiles"]) == (0, True, [])

    write_cells(row.id, 0, 50)
    store.update_run(row.id, blocks_done=1)
    index = client.get(url).json()
    assert (index["count"], index["growing"]) == (50, True)
    tile = client.get(f"/overlay/{row.id}/0_0.bin")
    assert tile.headers["cache-control"] == "no-store"
    assert len(unpack(tile.content)) == 50

    write_cells(row.id, 1, 30)
    store.update_run(row.id, blocks_done=2, status="done")
    index = client.get(url).json()
    assert (index["count"], index["growing"]) == (80, False)
    assert len(all_tiles(client, row, index)) == 80


def test_one_cells_facts(client: TestClient, run: store.Run) -> None:
    expected = cell_rows(1, 80, 1)[7]
    facts = client.get(f"/cells/{run.id}/{expected['cell_id']}.json").json()
    assert facts["class"] == expected["cls"]
    assert facts["score"] == pytest.approx(expected["score"])
    assert facts["area_um2"] == pytest.approx(expected["area_um2"])
    assert [p["value"] for p in facts["probabilities"]] == pytest.approx(expected["probs"])
    assert [p["label"] for p in facts["probabilities"]] == [c.capitalize() for c in CLASSES]
    assert all(p["color"].startswith("#") for p in facts["probabilities"])


def test_what_is_not_there_is_404(client: TestClient, run: store.Run) -> None:
    for url in (
        "/overlay/none/index.json",
        "/overlay/none/0_0.bin",
        "/cells/none/1.json",
        f"/cells/{run.id}/99999999.json",
        "/exports/none.csv",
        f"/exports/{run.id}.pdf",
    ):
        answer = client.get(url)
        assert answer.status_code == 404, url
        assert answer.json()["error"].endswith(".")


def test_a_damaged_part_is_a_sentence(client: TestClient, slide: store.Slide) -> None:
    row = add_run(slide, status="done", blocks_done=1)
    part = store.run_dir(row.id) / "parts" / "00000000.parquet"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"PAR1 no longer")
    for url in (f"/overlay/{row.id}/index.json", f"/overlay/{row.id}/0_0.bin", f"/cells/{row.id}/1.json"):
        answer = client.get(url)
        assert answer.status_code == 409
        assert "damaged" in answer.json()["error"]
