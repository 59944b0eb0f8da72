from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_tools
from PIL import Image
from test_raster import blob

from cmlcore import RESEARCH_USE
from cmlcore.errors import InputError
from cmlcore.ground_truth import Record, filled, instances_in_mask, load, painted, write_coco
from cmlcore.ground_truth.coco import decoded

BASE = {
    "images": [{"id": 7, "file_name": "a.png", "width": 60, "height": 40}],
    "categories": [{"id": 3, "name": "RBC"}, {"id": 5, "name": "My cell"}],
    "annotations": [
        {"id": 1, "image_id": 7, "category_id": 3, "segmentation": [[5, 5, 15, 5, 15, 20, 5, 20]]},
        {"id": 2, "image_id": 7, "category_id": 5, "bbox": [30, 10, 12, 8]},
        {"id": 3, "image_id": 7, "category_id": 3, "bbox": [50, 30, 9, 9], "iscrowd": 1},
    ],
}


def test_polygons_boxes_crowds_and_names(image, jsons, tmp_path):
    image("a.png")
    (record,) = load(jsons("labels.json", BASE), "all")
    assert record.names == ("erythrocyte", "my_cell")
    np.testing.assert_array_equal(record.boxes, [[5, 5, 15, 20], [30, 10, 42, 18]])
    np.testing.assert_array_equal(record.outlines[0], [[5, 5], [15, 5], [15, 20], [5, 20]])
    assert record.outlines[1] is None
    np.testing.assert_array_equal(record.clusters, [[50, 30, 59, 39]])
    assert record.complete == {"erythrocyte", "my_cell"}
    assert (record.mpp, record.mask, record.rois) == (None, None, ())
    assert record.image == tmp_path / "a.png"


@pytest.mark.parametrize("packed", [True, False])
def test_run_lengths_agree_with_the_coco_tools(packed):
    for seed in range(20):
        mask = blob(seed, 1.0)
        rle = coco_tools.encode(np.asfortranarray(mask.astype(np.uint8)))
        counts = rle["counts"].decode() if isinstance(rle["counts"], bytes) else rle["counts"]
        if not packed:
            flat = mask.T.reshape(-1)
            edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
            ends = np.concatenate([[0], edges, [flat.size]])
            counts = [int(n) for n in np.diff(ends)]
        np.testing.assert_array_equal(decoded({"size": [30, 40], "counts": counts}), mask)


def test_a_run_length_mask_becomes_its_outline(image, jsons):
    image("a.png", 40, 30)
    mask = blob(3, 2.0)
    rle = coco_tools.encode(np.asfortranarray(mask.astype(np.uint8)))
    raw = copy.deepcopy(BASE)
    raw["images"][0] |= {"width": 40, "height": 30}
    counts = rle["counts"].decode() if isinstance(rle["counts"], bytes) else rle["counts"]
    raw["annotations"] = [
        {"id": 1, "image_id": 7, "category_id": 3, "segmentation": {"size": [30, 40], "counts": counts}}
    ]
    (record,) = load(jsons("labels.json", raw), "all")
    holes = ~mask & filled(record.outlines[0], 30, 40)
    np.testing.assert_array_equal(filled(record.outlines[0], 30, 40) & ~holes, mask)
    ys, xs = np.nonzero(mask)
    np.testing.assert_array_equal(record.boxes, [[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]])


def test_what_is_written_comes_back(image, tmp_path):
    outline = np.array([[3.25, 4.5], [20, 4], [18.125, 22]], np.float32)
    first = Record(
        image("images/train/x.png"),
        "Lab",
        0.13,
        frozenset({"net", "erythrocyte"}),
        np.array([[3.25, 4, 20, 22], [30, 5, 50, 25]], np.float32),
        ("net", "erythrocyte"),
        (outline, None),
        None,
        np.array([[1, 1, 3, 3]], np.float32),
        (np.array([[0, 0], [55, 0], [55, 35]], np.float32),),
    )
    path = tmp_path / "annotations" / "cells_train.json"
    write_coco(path, [first], ("erythrocyte", "net"), "two cells")
    (back,) = load(tmp_path, "all")
    np.testing.assert_array_equal(back.rois, first.rois)
    for field in ("image", "source", "mpp", "complete", "names", "mask"):
        assert getattr(back, field) == getattr(first, field), field
    np.testing.assert_array_equal(back.boxes, first.boxes)
    np.testing.assert_array_equal(back.clusters, first.clusters)
    np.testing.assert_array_equal(back.outlines[0], outline)
    assert back.outlines[1] is None
    assert json.loads(path.read_text())["info"]["note"] == RESEARCH_USE
    with pytest.raises(InputError, match="not among the classes"):
        write_coco(path, [first], ("net",))


def test_mask_files_are_traced_when_written(real_data, tmp_path):
    for name in ("bbbc041seg", "krd_wbc"):
        first = load(real_data / name, "val")[0]
        write_coco(tmp_path / f"{name}.json", [first], ("erythrocyte", "leukocyte"))
        (back,) = load(tmp_path / f"{name}.json", "all")
        owner, names, _ = instances_in_mask(first)
        ours, has = painted(back, *owner.shape)
        assert back.names == names
        assert back.complete == first.complete
        assert has.all()
        holes = (owner == 0) & (ours > 0)  # an outline has none
        np.testing.assert_array_equal(np.where(holes, 0, ours), owner)


def _with(**changes):
    return copy.deepcopy(BASE) | changes


def _annotation(**changes):
    return _with(annotations=[{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 1, 9, 9]} | changes])


@pytest.mark.parametrize(
    ("raw", "sentence", "cells"),
    [
        (_annotation(bbox=[70, 50, 9, 9]), "no usable outline or box", 0),
        (_annotation(segmentation=[[70, 50, 90, 50, 90, 70]]), "no usable outline or box", 0),
        (_annotation(segmentation=[[1, 1, 9, 9]]), "no usable outline or box", 0),
        (_annotation(segmentation={"size": [4, 4], "counts": [3]}), "no usable outline or box", 0),
        (_annotation(category_id=99), "unknown category; its place is ignored", 0),
        (_annotation(image_id=8), "belong to no image", 0),
        (_with(annotations=[BASE["annotations"][0]] * 2), "id 1 stands twice", 1),
        (_with(images=[BASE["images"][0]] * 2), "id 7 stands twice", 2),
    ],
)
def test_each_defect_is_a_sentence_and_the_rest_goes_through(image, jsons, said, raw, sentence, cells):
    image("a.png")
    (record,) = load(jsons("labels.json", raw), "all", tell=said.append)
    assert len(record.names) == cells
    assert any(sentence in s for s in said), said


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (_with(images=[BASE["images"][0] | {"width": 61}]), "60 × 40 pixels, its labels were made on 61"),
        (_with(images=[BASE["images"][0] | {"file_name": "b.png"}]), "b.png is missing"),
        (_with(images=[{"id": 7}]), "has no file_name"),
        (_with(images=[]), "holds no image that can be used"),
    ],
)
def test_a_set_without_a_usable_image_is_refused(image, jsons, said, raw, sentence):
    image("a.png")
    with pytest.raises(InputError, match="can be used"):
        load(jsons("labels.json", raw), "all", tell=said.append)
    assert any(sentence in s for s in said), said


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (_with(categories=[]), "lists no categories"),
        (_with(categories=[{"name": "RBC"}]), "lacks its id or name"),
        (_with(annotations={}), "must be a list"),
    ],
)
def test_a_broken_file_is_refused(image, jsons, raw, sentence):
    image("a.png")
    with pytest.raises(InputError, match=sentence):
        load(jsons("labels.json", raw), "all")


def test_broken_json_is_refused(tmp_path):
    path = tmp_path / "labels.json"
    path.write_text('{"images": [')
    with pytest.raises(InputError, match="cannot be read as JSON"):
        load(path, "all")


def test_no_image_file_is_a_sentence(tmp_path, jsons, said):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError):
        load(jsons("labels.json", BASE), "all", tell=said.append)
    assert said == ["a.png cannot be read as an image; its labels are left out.", *said[1:]]


def test_an_image_turned_by_its_tag_is_left_out(tmp_path, jsons, said):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (60, 40), "white").save(tmp_path / "a.png", exif=exif)
    with pytest.raises(InputError):
        load(jsons("labels.json", BASE), "all", tell=said.append)
    assert said[0] == "a.png is turned by a tag in its file; save it upright and label that."


def test_pixel_size_and_completeness_are_taken_from_the_file(image, jsons):
    image("a.png")
    raw = _with(info={"mpp": 0.2, "complete": ["RBC"], "source": "Lab"})
    (record,) = load(jsons("labels.json", raw), "all")
    assert (record.mpp, record.source, record.complete) == (0.2, "Lab", {"erythrocyte"})
    raw["images"][0]["mpp"] = 0.1
    assert load(jsons("labels.json", raw), "all")[0].mpp == 0.1
    raw["images"][0]["mpp"] = "fine"
    with pytest.raises(InputError, match="no pixel size"):
        load(jsons("labels.json", raw), "all")
