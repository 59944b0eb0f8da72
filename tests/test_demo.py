"""The drawn slide: the same from the same seed, true to scale, written like a scanner's, and real enough."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from pylibCZIrw import czi

from cmlcore.demo import DrawnCell, Smear, demo_scenes, draw_demo, draw_smear, read_truth, recall, truth_path
from cmlcore.demo.leukocytes import KINDS
from cmlcore.errors import InputError, StorageError
from cmlcore.geometry import Size
from cmlcore.slides import open_slide

SIDE = 640


@pytest.fixture(scope="module")
def small() -> tuple[np.ndarray, list[DrawnCell], Smear]:
    smear = demo_scenes(SIDE)[1]
    rgb, cells = draw_smear(smear, 7)
    return rgb, cells, smear


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_demo(tmp_path_factory.mktemp("demo") / "demo-smear.czi", SIDE)


def test_same_seed_gives_the_same_pixels_and_truth(small) -> None:
    rgb, cells, smear = small
    again, cells_again = draw_smear(smear, 7)
    assert np.array_equal(rgb, again)
    assert [c.kind for c in cells] == [c.kind for c in cells_again]
    assert all(np.array_equal(a.outline_l0, b.outline_l0) for a, b in zip(cells, cells_again, strict=True))
    assert not np.array_equal(rgb, draw_smear(smear, 8)[0])


def test_cells_have_the_sizes_of_textbooks(small) -> None:
    _, cells, smear = small
    inner = shapely.box(1, 1, smear.size.w - 1, smear.size.h - 1)

    def diameters(cls: str) -> np.ndarray:
        shapes = [shapely.Polygon(c.outline_l0) for c in cells if c.cls == cls]
        areas = np.array([s.area for s in shapes if inner.contains(s)]) * smear.mpp**2
        return 2 * np.sqrt(areas / np.pi)

    assert 7.0 <= np.median(diameters("erythrocyte")) <= 7.8
    assert 2.0 <= np.median(diameters("thrombocyte")) <= 3.5
    assert diameters("leukocyte").min() >= 8.0
    assert diameters("leukocyte").max() <= 20


def test_outlines_are_valid_inside_the_scene_and_lie_on_the_cells(small) -> None:
    rgb, cells, smear = small
    light = rgb.mean(2)
    everywhere = np.zeros(light.shape, np.uint8)
    for cell in cells:
        assert shapely.Polygon(cell.outline_l0).is_valid
        assert cell.outline_l0.min() >= 0
        assert (cell.outline_l0.max(0) <= (smear.size.w, smear.size.h)).all()
        cv2.fillPoly(everywhere, [np.round((cell.outline_l0 - 0.5) * 16).astype(np.int32)], 1, shift=4)
    ground = np.percentile(light[everywhere == 0], 50)
    for cell in cells:
        mask = np.zeros(light.shape, np.uint8)
        cv2.fillPoly(mask, [np.round((cell.outline_l0 - 0.5) * 16).astype(np.int32)], 1, shift=4)
        assert light[mask > 0].mean() < ground - 12, cell.kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_leukocyte_can_be_drawn_alone(kind: str) -> None:
    smear = Smear(Size(400, 400), demo_scenes()[0].stain, {kind: 1}, 0, 1500, 0, margin=0.01)
    _, cells = draw_smear(smear, 3)
    assert {c.kind for c in cells} == {kind}


def test_the_left_shifted_scene_holds_more_leukocytes_than_the_ordinary_one(slide: Path) -> None:
    ordinary, shifted = (sum(c.cls == "leukocyte" for c in read_truth(truth_path(slide, s))) for s in (0, 1))
    assert shifted > 2 * ordinary


def test_the_slide_is_a_mosaic_of_two_scenes_with_scale_and_objective(slide: Path) -> None:
    with open_slide(slide, isolated=False) as reader:
        info = reader.info
    assert [s.size for s in info.scenes] == [s.size for s in demo_scenes(SIDE)]
    assert len({s.origin for s in info.scenes}) == 2
    assert info.mpp is not None
    assert info.mpp.x == info.mpp.y == pytest.approx(0.22)
    assert (info.objective, info.kind, info.channels, info.bits) == (20.0, "brightfield", 3, 8)


def test_the_slide_holds_the_drawn_pixels(slide: Path) -> None:
    from cmlcore.demo import SEED

    for s, smear in enumerate(demo_scenes(SIDE)):
        rgb, _ = draw_smear(smear, SEED + s)
        with czi.open_czi(str(slide)) as file:
            assert np.array_equal(file.read(scene=s)[..., ::-1], rgb)


def test_a_folder_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="CML_HOME"):
        draw_demo(tmp_path / "file" / "demo-smear.czi", 512)


def test_nothing_half_written_stays_when_the_disk_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> bool:
        raise RuntimeError("write failed: no space left on device")

    monkeypatch.setattr(czi.CziWriter, "write", full)
    with pytest.raises(StorageError, match="make room"):
        draw_demo(tmp_path / "demo-smear.czi", 512)
    assert not list(tmp_path.glob("*.czi"))


def test_truth_comes_back_as_written_and_names_itself_research_only(slide: Path) -> None:
    path = truth_path(slide, 0)
    _, cells = draw_smear(demo_scenes(SIDE)[0], 20260)
    for a, b in zip(read_truth(path), cells, strict=True):
        assert (a.cls, a.kind) == (b.cls, b.kind)
        assert np.abs(a.outline_l0 - b.outline_l0).max() <= 1 / 16
    assert "research use only" in json.loads(path.read_text())["note"]


@pytest.mark.parametrize("content", ["", "[]", '{"features": [{}]}', "\x00\x01"])
def test_a_file_that_is_no_truth_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.geojson").write_text(content)
    with pytest.raises(InputError, match="draw the slide again"):
        read_truth(tmp_path / "t.geojson")


def _square(x: float, y: float, side: float) -> np.ndarray:
    return np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], np.float32)


def test_recall_counts_each_cell_once_and_only_of_its_class() -> None:
    drawn = [
        DrawnCell("erythrocyte", "", _square(0, 0, 10)),
        DrawnCell("erythrocyte", "", _square(20, 0, 10)),
    ]
    drawn += [DrawnCell("leukocyte", "", _square(40, 0, 10))]
    found = [_square(1, 0, 10), _square(0, 1, 10), _square(20, 4, 10), _square(40, 0, 10)]
    rows = recall(drawn, found, ["erythrocyte", "erythrocyte", "erythrocyte", "erythrocyte"])
    # (20, 4) overlaps by 60 of 140: below one half; the leukocyte was called an erythrocyte.
    assert [(r.cls, r.drawn, r.found) for r in rows] == [("erythrocyte", 2, 1), ("leukocyte", 1, 0)]
    assert recall(drawn, [], [])[0].found == 0


def test_recall_equals_a_slow_reference(small) -> None:
    rng = np.random.default_rng(1)
    cells = small[1][:60]
    found = [c.outline_l0 + rng.normal(0, 5, 2).astype(np.float32) for c in cells for _ in range(2)]
    classes = [str(rng.choice([c.cls, "leukocyte"])) for c in cells for _ in range(2)]
    pairs = []
    for i, c in enumerate(cells):
        for j, (o, cls) in enumerate(zip(found, classes, strict=True)):
            a, b = shapely.Polygon(c.outline_l0), shapely.Polygon(o)
            if cls == c.cls and a.intersection(b).area / a.union(b).area >= 0.5:
                pairs.append((-a.intersection(b).area / a.union(b).area, i, j))
    hits: set[int] = set()
    used: set[int] = set()
    for _, i, j in sorted(pairs):
        if i not in hits and j not in used:
            hits.add(i)
            used.add(j)
    assert sum(r.found for r in recall(cells, found, classes)) == len(hits) > 10


@pytest.mark.weights
@pytest.mark.parametrize("model", ["type1", "type2"])
def test_shipped_weights_find_nine_of_ten_drawn_cells(model: str, tmp_path: Path) -> None:
    from cmlcore.cells import CellTable
    from cmlcore.jobs import segment_local

    slide = draw_demo(tmp_path / "demo-smear.czi", 896)
    drawn = found = 0
    for scene in (0, 1):
        out = tmp_path / f"scene{scene}"
        segment_local(slide, model, out, scene=scene)
        batches = list(CellTable(out).batches(["outline_l0", "cls"]))
        outlines = [np.reshape(o, (-1, 2)) for b in batches for o in b["outline_l0"].to_pylist()]
        rows = recall(
            read_truth(truth_path(slide, scene)), outlines, [c for b in batches for c in b["cls"].to_pylist()]
        )
        drawn += sum(r.drawn for r in rows)
        found += sum(r.found for r in rows)
    assert found / drawn >= 0.9, f"{model}: {found} of {drawn}"
