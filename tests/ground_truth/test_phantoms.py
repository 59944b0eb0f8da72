from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from cmlcore.errors import InputError
from cmlcore.ground_truth import load, painted, phantoms
from cmlcore.ground_truth.phantom_cells import DIAMETER_UM, Grains, Paint, draw_phantom
from cmlcore.ground_truth.phantom_ground import Ground, _new_part, _seam, grounds_of, sewn
from cmlcore.ground_truth.phantoms import CLASSES, draw_phantoms


@pytest.fixture(scope="module")
def grains() -> Grains:
    return Grains(np.random.default_rng(0), 0.4)


@pytest.fixture(autouse=True)
def small_images(monkeypatch):
    """Images of 160 pixels and their cells at 0.4 µm: a quarter of the work."""
    monkeypatch.setattr(phantoms, "SIDES", (160,))
    monkeypatch.setattr(phantoms, "MPP_PHANTOMS", 0.4)


@pytest.mark.parametrize("cls", DIAMETER_UM)
def test_a_drawn_cell_has_its_size_and_its_colours(grains, cls):
    rng = np.random.default_rng(1)
    for diameter in DIAMETER_UM[cls]:
        cell = draw_phantom(rng, cls, diameter, Paint.draw(rng), grains)
        s = cell.mask.shape[0]
        assert cell.cover.shape == (s, s)
        assert cell.density.shape == (s, s, 3)
        across = 2 * np.sqrt(cell.mask.sum() / np.pi) * 0.4
        assert 0.6 * diameter < across < 1.25 * diameter
        n, *_ = cv2.connectedComponents(cell.mask.astype(np.uint8), connectivity=8)
        assert n == 2  # the ground, and one piece
        assert 0 <= cell.cover.min() <= cell.cover.max() <= 1
        dark = (cell.density * cell.cover[..., None])[cell.mask].mean(axis=0)
        assert dark[1] > dark[0] > 0  # purple and pink: green is taken out most
        assert dark[1] > dark[2]
        assert (cell.cover * ~cell.mask).mean() < 0.05  # what it hides is its own


def test_the_same_seed_draws_the_same_files(tmp_path):
    for name in ("a", "b", "c"):
        draw_phantoms(tmp_path / name, None, 2, seed=4 if name != "c" else 5, mpp=0.4)
    files = [sorted(p for p in (tmp_path / n).rglob("*.*")) for n in "abc"]
    assert [p.name for p in files[0]] == [p.name for p in files[1]] == [p.name for p in files[2]]
    assert [p.read_bytes() for p in files[0]] == [p.read_bytes() for p in files[1]]
    assert files[0][-1].read_bytes() != files[2][-1].read_bytes()


def test_the_set_says_phantom_and_all_its_cells(tmp_path):
    done: list[tuple[int, int]] = []
    draw_phantoms(tmp_path, None, 3, seed=1, mpp=0.3, progress=lambda i, n: done.append((i, n)))
    assert done == [(1, 3), (2, 3), (3, 3)]
    train, val = load(tmp_path, "train"), load(tmp_path, "val")
    assert (len(train), len(val)) == (2, 1)
    for path in (tmp_path / "annotations").iterdir():
        assert "phantom" in path.name
        info = json.loads(path.read_text())["info"]
        assert "phantom" in info["description"].casefold()
        assert info["name"] == "phantoms"
    for r in (*train, *val):
        assert r.image.name.startswith("phantom_")
        assert r.source.startswith("phantom on ")
        assert (r.mpp, r.complete) == (0.3, frozenset(CLASSES))
        assert r.names
        h, w = cv2.imread(str(r.image)).shape[:2]
        owner, has = painted(r, h, w)
        assert has.all()
        areas = np.bincount(owner.reshape(-1), minlength=len(has) + 1)[1:]
        for name, area, box in zip(r.names, areas, r.boxes, strict=True):
            across = 2 * np.sqrt(area / np.pi) * 0.3
            assert across < 1.3 * DIAMETER_UM[name][1]
            assert (box[:2] >= 0).all()
            assert box[2] <= w
            assert box[3] <= h


def test_a_seam_takes_the_cheapest_way():
    cost = np.full((6, 5), 9.0, np.float32)
    way = [2, 3, 3, 2, 1, 1]
    cost[range(6), way] = 1
    assert _seam(cost).tolist() == way


def test_the_new_piece_shows_beyond_the_seam_and_not_before():
    old = np.zeros((40, 40, 3), np.uint8)
    new = np.full((40, 40, 3), 255, np.uint8)
    new[:, 4], new[5, :] = 0, 0  # alike along one column and one row: there the seams run
    keep = _new_part(old, new, 10, 10)
    np.testing.assert_allclose(keep[12:, 12:], 1, atol=1e-5)
    assert keep[:, 0].max() < 0.05
    assert keep[0, 12:].max() < 0.05
    np.testing.assert_allclose(_new_part(old, new, 0, 0), 1)


def test_ground_is_sewn_from_the_images_alone(tmp_path):
    path = tmp_path / "a.png"
    rgb = np.full((120, 120, 3), (200, 220, 230), np.uint8)
    cv2.circle(rgb, (60, 60), 20, (90, 90, 200), -1)
    cv2.imwrite(str(path), rgb)
    ground = Ground("lab", [(_record(path), 1.0)])
    field = sewn(np.random.default_rng(0), ground, 200, 260, 0.2)
    assert field.shape == (200, 260, 3)
    colours = np.unique(field.reshape(-1, 3), axis=0).astype(int)
    low, high = rgb.reshape(-1, 3)[:, ::-1].min(0), rgb.reshape(-1, 3)[:, ::-1].max(0)
    assert (colours >= low - 2).all()
    assert (colours <= high + 2).all()
    assert grounds_of([_record(path, mpp=0.05)], 0.2) == []  # too small to be sewn
    assert grounds_of([_record(path, mpp=None)], 0.2) == []


def _record(path, mpp=0.2):
    from cmlcore.ground_truth import Record
    from cmlcore.ground_truth.records import no_boxes

    return Record(path, "lab", mpp, frozenset(), no_boxes(), (), (), None, no_boxes())


def test_impossible_wishes_are_refused(tmp_path, image, jsons):
    with pytest.raises(InputError, match="at least two images"):
        draw_phantoms(tmp_path / "out", None, 1)
    image("small/a.png")
    jsons(
        "small/labels.json",
        {
            "images": [{"id": 1, "file_name": "a.png"}],
            "categories": [{"id": 1, "name": "RBC"}],
            "annotations": [],
        },
    )
    with pytest.raises(InputError, match="can be ground for phantoms"):
        draw_phantoms(tmp_path / "out", tmp_path / "small", 2)


def test_real_ground_gives_each_part_its_own_images(real_data, tmp_path):
    draw_phantoms(tmp_path, real_data / "bbbc041seg", 2, seed=2, mpp=0.4)
    assert {r.source for r in load(tmp_path, "all")} == {"phantom on bbbc041seg"}
    assert len(load(tmp_path, "val")) == 1


def test_the_drawn_ground_is_a_smear_and_no_bare_glass():
    field = sewn(np.random.default_rng(3), Ground("drawn smear", []), 160, 200, 0.2)
    assert field.shape == (160, 200, 3)
    green = field[..., 1].astype(float)
    assert (green < np.percentile(green, 95) - 25).mean() > 0.15  # cells lie on it
