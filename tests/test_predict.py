"""Plain images: reading, tiling against one whole tile, COCO results, the estimate of the pixel size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cmlcore import predict, scale
from cmlcore.errors import InputError, ModelError
from models.base import Instances, TileGrid

CLASSES = ("erythrocyte", "leukocyte", "thrombocyte")


class Discs:
    """Finds dark discs; believes only those of about 37 px, as a network taught at 0.2 µm/px does."""

    key, classes, mpp, grid = "discs", CLASSES, 0.2, TileGrid(256, 64, 32)
    device, tail, sha256, card = "test", 0.0, "0" * 64, {"min_score": 0.5}

    def predict(self, batch: np.ndarray, min_score: float = 0.0) -> list[Instances]:
        assert batch.shape[2] % 32 == 0
        assert batch.shape[3] % 32 == 0
        return [self._one(tile) for tile in batch]

    def _one(self, tile: np.ndarray) -> Instances:
        dark = (tile[1] < 190).astype(np.uint8)
        contours, _ = cv2.findContours(dark, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        shapes = [c[:, 0].astype(np.float32) + 0.5 for c in contours if len(c) >= 12]
        widths = np.array([max(s.max(0) - s.min(0)) for s in shapes])
        scores = np.exp(-np.abs(np.log(np.maximum(widths, 1) / 37.5))).astype(np.float32)
        n = len(shapes)
        anchors = np.array([(s.max(0) + s.min(0)) / 2 for s in shapes], np.float32).reshape(-1, 2)
        return Instances(shapes, np.zeros(n, np.int64), scores, np.full((n, 3), 1 / 3, np.float32), anchors)


def smear(h: int, w: int, width: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Discs on a jittered grid, none touching; returns the image and the true centres."""
    rng = np.random.default_rng(seed)
    step = width * 1.5
    ys, xs = np.meshgrid(
        np.arange(step, h - step / 2, step), np.arange(step, w - step / 2, step), indexing="ij"
    )
    at = np.stack([xs, ys], -1).reshape(-1, 2) + rng.uniform(-0.15, 0.15, (xs.size, 2)) * width
    image = np.full((h, w, 3), 235, np.uint8)
    for x, y in at:
        cv2.circle(image, (round(x * 8), round(y * 8)), round(width * 4), (200, 120, 130), -1, cv2.LINE_AA, 3)
    return image, at


def test_tiles_give_the_cells_of_one_whole_tile() -> None:
    image, true = smear(700, 900, 37)
    model = Discs()
    tiled = predict.predict_rgb(model, image, 0.2)

    class Whole(Discs):
        grid = TileGrid(1024, 128, 32)

    whole = predict.predict_rgb(Whole(), image, 0.2)
    assert len(predict.tiles_over(model.grid, 700, 900)) == 6 * 8
    assert len(tiled) == len(whole) == len(true)

    def key(cells: Instances) -> list[tuple[float, float]]:
        return sorted((round(float(x), 3), round(float(y), 3)) for x, y in cells.anchors)

    assert key(tiled) == key(whole)
    got, want = ({tuple(np.round(o.mean(0), 2)): len(o) for o in c.outlines} for c in (tiled, whole))
    assert got == want


def test_every_tile_at_an_edge_reaches_beyond_it() -> None:
    grid = TileGrid(256, 64, 32)
    for h, w in [(1, 1), (100, 232), (229, 232), (232, 232), (233, 100), (256, 256), (700, 900)]:
        tiles = predict.tiles_over(grid, h, w)
        assert (len(tiles) == 1) == (max(h, w) <= 232)
        assert max(min(t.x for t in tiles), min(t.y for t in tiles)) <= -predict.RIM
        assert all(t.x % 16 == t.y % 16 == 0 for t in tiles)
        assert max(t.x1 for t in tiles) >= w + predict.RIM
        assert max(t.y1 for t in tiles) >= h + predict.RIM
        assert all(t.w % 32 == t.h % 32 == 0 and max(t.w, t.h) <= 256 for t in tiles)
        if len(tiles) == 1:
            (t,) = tiles
            assert -8 <= t.x1 - w + t.x < 32  # in the middle, but for the steps
            assert -8 <= t.y1 - h + t.y < 32


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.3])
def test_outlines_come_back_in_image_pixels(factor: float) -> None:
    image, true = smear(400, 500, 37 * factor)
    cells = predict.predict_rgb(Discs(), image, 0.2 / factor)
    assert len(cells) == len(true)
    near = np.linalg.norm(cells.anchors[:, None] - true[None], axis=2).argmin(1)
    assert sorted(near.tolist()) == list(range(len(true)))
    assert np.abs(cells.anchors - true[near]).max() < 1.5 * max(1, factor)
    assert (np.diff(cells.scores) <= 0).all()
    assert all((o >= 0).all() and (o <= [500, 400]).all() for o in cells.outlines)


@pytest.mark.parametrize("width", [25, 31, 45, 64, 90, 130])
def test_the_pixel_size_is_found_from_25_to_130_pixels(width: int) -> None:
    image, _ = smear(int(width * 9), int(width * 11), width, seed=width)
    got = scale.estimate_mpp(Discs(), image)
    assert got is not None
    assert got.mpp == pytest.approx(7.5 / width, rel=0.06)
    assert got.cells >= 20


def test_an_empty_image_has_no_pixel_size() -> None:
    assert scale.estimate_mpp(Discs(), np.full((200, 200, 3), 240, np.uint8)) is None


def test_images_that_say_little_follow_those_like_them() -> None:
    sure, unsure = (lambda m: scale.ScaleEstimate(m, 20, 0.01)), scale.ScaleEstimate(0.5, 2, 0.4)
    sizes = [(10, 10), (10, 10), (10, 10), (20, 20), (30, 30)]
    got = scale.settle([sure(0.1), sure(0.12), None, sure(0.3), None], sizes)
    assert got == pytest.approx([0.1, 0.12, 0.11, 0.3, 0.12])
    assert scale.settle([sure(0.1), sure(0.12), unsure], sizes[:3])[2] == pytest.approx(0.12)
    lone = scale.ScaleEstimate(0.5, 5, 0.1)  # far off, on few cells: not believed; on many: believed
    assert scale.settle([sure(0.1), sure(0.1), lone], sizes[:3])[2] == pytest.approx(0.1)
    assert scale.settle([sure(0.1), sure(0.1), sure(0.5)], sizes[:3])[2] == pytest.approx(0.5)
    with pytest.raises(InputError, match="give the µm per pixel"):
        scale.settle([None], [(5, 5)])


def test_results_are_coco_and_the_same_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "load_model", lambda *_a, **_k: Discs())
    paths = []
    for i in range(2):
        image, true = smear(300, 400, 75, seed=i)
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(image).save(paths[-1])
    seen: list[tuple[int, int]] = []
    for mpp in (0.1, "auto"):
        got = predict.predict_images(paths, "type1", mpp, 0.1, "cpu", lambda i, n: seen.append((i, n)))  # type: ignore[arg-type]
        again = predict.predict_images(paths, "type1", mpp, 0.1, "cpu")  # type: ignore[arg-type]
        assert json.dumps(got) == json.dumps(again)
        assert len(got) == 2 * len(true)
        assert [r["file_name"] for r in got] == sorted(r["file_name"] for r in got)
        for r in got:
            assert set(r) == {"file_name", "category_name", "score", "bbox", "segmentation"}
            shape = np.array(r["segmentation"][0]).reshape(-1, 2)
            x, y, w, h = r["bbox"]
            assert [x, y] == pytest.approx(shape.min(0), abs=0.011)
            assert [x + w, y + h] == pytest.approx(shape.max(0), abs=0.021)
            assert 60 < w < 90
    assert seen == [(1, 2), (2, 2)] * 2


def test_reading_images(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    assert np.array_equal(predict.read_rgb(tmp_path / "a.png"), rgb)
    clear = Image.fromarray(rgb).convert("RGBA")
    clear.putalpha(0)
    clear.save(tmp_path / "clear.png")
    assert (predict.read_rgb(tmp_path / "clear.png") == 255).all()


def bad_images() -> list[Any]:
    return [
        ("grey.png", lambda p: Image.new("L", (9, 9)).save(p), "grey image"),
        ("deep.png", lambda p: Image.fromarray(np.zeros((9, 9), np.uint16)).save(p), "grey image"),
        ("text.png", lambda p: p.write_text("hello"), "cannot be read"),
        ("empty.jpg", lambda p: p.write_bytes(b""), "cannot be read"),
        ("cut.png", lambda p: _cut(p), "cannot be read"),
        ("none.png", lambda p: None, "does not exist"),
    ]


def _cut(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (99, 99, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(("name", "make", "said"), bad_images())
def test_bad_images_are_refused_in_a_sentence(tmp_path: Path, name: str, make: Any, said: str) -> None:
    make(tmp_path / name)
    with pytest.raises(InputError, match=said):
        predict.read_rgb(tmp_path / name)


def test_a_flood_of_pixels_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "big.png")
    monkeypatch.setattr(predict, "MAX_PIXELS", 1000)
    with pytest.raises(InputError, match="too large"):
        predict.read_rgb(tmp_path / "big.png")


def test_impossible_pixel_sizes_and_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="outside"):
        predict.predict_rgb(Discs(), np.zeros((9, 9, 3), np.uint8), 0.0)
    with pytest.raises(ModelError, match="no model"):
        predict.predict_images([tmp_path / "a.png"], "nope", 0.1)


@pytest.mark.weights
@pytest.mark.realdata
def test_tiled_equals_whole_on_a_real_image(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same cells, outlines IoU at least 0.99, with the shipped network."""
    from shapely.geometry import Polygon

    from models.registry import load_model

    model = load_model("type1", "cpu", 1)
    image = sorted((real_data / "bbbc041seg" / "val" / "images").iterdir())[0]
    at_m = predict.resized(predict.read_rgb(image), 600, 450)
    # Beyond the image both roads must see the same, so the white that tiles add is there for the whole too.
    framed = cv2.copyMakeBorder(at_m, 128, 128, 128, 128, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    whole = predict.predict_rgb(model, framed, model.mpp, 0.5)
    monkeypatch.setattr(model, "grid", TileGrid(640, model.grid.margin, model.grid.align))
    tiled = predict.predict_rgb(model, framed, model.mpp, 0.5)
    assert len(whole) > 20
    assert len(tiled) == len(whole)
    for outline, anchor in zip(tiled.outlines, tiled.anchors, strict=True):
        twin = int(np.linalg.norm(whole.anchors - anchor, axis=1).argmin())
        a, b = Polygon(outline), Polygon(whole.outlines[twin])
        assert a.intersection(b).area / a.union(b).area >= 0.99
