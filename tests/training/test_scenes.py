from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from drawn_smear import smear

from cmlcore.errors import InputError
from cmlcore.ground_truth import MPP, Record, records, traced
from cmlcore.training.scenes import STORE_MPP, bounds, load_scenes, make_scene
from cmlcore.training.settings import THREE_CELLS


def test_a_masked_scene_at_store_scale(sets_root):
    record = records(sets_root, "train", ("bbbc041seg",))[0]
    scene = make_scene(record, THREE_CELLS)
    assert scene.image.shape[0] == round(400 * MPP["bbbc041seg"] / STORE_MPP)
    assert len(scene.labels) == 3  # the two merged cells are ignored, not taught
    assert scene.has_mask.all()
    f = MPP["bbbc041seg"] / STORE_MPP
    assert scene.ignore[int(330 * f), int(330 * f)]
    assert scene.owner[int(330 * f), int(330 * f)] == 0
    np.testing.assert_allclose(bounds(scene.owner, 3), scene.boxes, atol=1.0)


def test_the_cache_gives_the_same_scene(sets_root, tmp_path):
    found = records(sets_root, "train")
    first, second = (load_scenes(found, THREE_CELLS, tmp_path / "c") for _ in range(2))
    for a, b in zip(first, second, strict=True):
        for k in ("image", "owner", "boxes", "labels", "has_mask", "ignore"):
            np.testing.assert_array_equal(getattr(a, k), getattr(b, k))
        assert (a.complete, a.source) == (b.complete, b.source)


def test_an_image_that_is_not_one_is_a_sentence(sets_root):
    record = records(sets_root, "train", ("krd_wbc",))[0]
    record.image.write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        make_scene(record, THREE_CELLS)


def test_one_cache_serves_every_choice_of_classes(sets_root, tmp_path):
    found = records(sets_root, "train", ("txl_pbc",))
    (whole,) = load_scenes(found, THREE_CELLS, tmp_path)
    files = sorted(p.stat().st_mtime_ns for p in tmp_path.iterdir())
    (two,) = load_scenes(found, ("leukocyte", "erythrocyte"), tmp_path)
    (net,) = load_scenes(found, ("net",), tmp_path)
    assert sorted(p.stat().st_mtime_ns for p in tmp_path.iterdir()) == files
    assert whole.labels.tolist() == [0, 0, 1, 2, 0, 0]
    assert two.labels.tolist() == [1, 1, 0, 1, 1]
    assert two.complete == (True, True)
    thrombocyte = whole.owner == 4
    assert two.ignore[thrombocyte].all()  # a cell of no trained class is neither taught nor punished
    assert not two.owner[thrombocyte].any()
    np.testing.assert_array_equal(two.owner == 4, whole.owner == 5)
    # an image whose leukocytes are all named by the wider name says nothing sure about a finer class
    assert len(net.labels) == 0
    assert net.ignore[whole.owner == 3].all()


def test_outlines_are_painted_and_a_box_alone_gets_its_outline_by_colour(tmp_path, sets_root):
    rgb, label = smear(200, 260, [(70, 90, 40, 0), (180, 100, 40, 0)])
    image = tmp_path / "x.png"
    cv2.imwrite(str(image), rgb[..., ::-1])
    boxes = bounds(label.astype(np.uint16), 2)
    record = Record(
        image, "mine", STORE_MPP, frozenset({"erythrocyte"}), boxes, ("erythrocyte", "erythrocyte"),
        (traced(label == 1), None), None, np.zeros((0, 4), np.float32),
    )  # fmt: skip
    scene = make_scene(record, ("erythrocyte",))
    np.testing.assert_array_equal(scene.owner == 1, label == 1)
    overlap = ((scene.owner == 2) & (label == 2)).sum() / ((scene.owner == 2) | (label == 2)).sum()
    assert overlap > 0.85
    assert scene.has_mask.tolist() == [True, True]
    assert scene.complete == (True,)


def test_outside_the_base_rois_nothing_is_learned(tmp_path):
    rgb, label = smear(200, 260, [(70, 90, 40, 0)])
    image = tmp_path / "x.png"
    cv2.imwrite(str(image), rgb[..., ::-1])
    roi = np.array([[0, 0], [130, 0], [130, 200], [0, 200]], np.float32)
    record = Record(
        image, "mine", STORE_MPP, frozenset({"leukocyte"}), bounds(label.astype(np.uint16), 1),
        ("leukocyte",), (traced(label == 1),), None, np.zeros((0, 4), np.float32), (roi,),
    )  # fmt: skip
    scene = make_scene(record, ("leukocyte",))
    assert not scene.ignore[:, :130].any()
    assert scene.ignore[:, 130:].all()


def test_a_changed_label_is_not_served_from_the_cache(sets_root, tmp_path):
    (record,) = records(sets_root, "train", ("txl_pbc",))
    (before,) = load_scenes([record], THREE_CELLS, tmp_path)
    named = replace(record, names=("leukocyte", *record.names[1:]))
    (after,) = load_scenes([named], THREE_CELLS, tmp_path)
    assert before.labels[0] == 0
    assert after.labels[0] == 1


def test_an_unknown_pixel_size_is_a_sentence(sets_root):
    (record,) = records(sets_root, "train", ("txl_pbc",))
    with pytest.raises(InputError, match=r"pixel size of a.png is unknown"):
        make_scene(replace(record, mpp=None), THREE_CELLS)
