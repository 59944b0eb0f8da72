from __future__ import annotations

import numpy as np
import pytest
from drawn_smear import CELLS, boxes_of, smear

from cmlcore.errors import InputError
from cmlcore.training.scenes import STORE_MPP, bounds, load_scenes, make_scene
from cmlcore.training.sets import ERYTHROCYTE, LEUKOCYTE, MPP, THROMBOCYTE, records


def test_boxes_and_what_is_complete(sets_root):
    txl, seg, krd = records(sets_root, "train")
    assert [r.source for r in (txl, seg, krd)] == ["PBC", "bbbc041seg", "krd_wbc"]
    assert txl.complete == (True, True, True)
    assert seg.complete == (True, False, False)
    assert krd.complete == (False, True, False)
    assert txl.labels.tolist() == [c for *_, c in CELLS]
    assert (ERYTHROCYTE, LEUKOCYTE, THROMBOCYTE) == (0, 1, 2)
    np.testing.assert_allclose(txl.boxes, boxes_of(smear(363, 360, CELLS)[1]), atol=0.01)


def test_no_sets_and_unknown_sets_are_a_sentence(tmp_path):
    with pytest.raises(InputError, match="No labelled images"):
        records(tmp_path, "train")
    with pytest.raises(InputError, match="Unknown data set"):
        records(tmp_path, "train", ("nothing",))


def test_a_masked_scene_at_store_scale(sets_root):
    record = records(sets_root, "train", ("bbbc041seg",))[0]
    scene = make_scene(record)
    assert scene.image.shape[0] == round(400 * MPP["bbbc041seg"] / STORE_MPP)
    assert len(scene.labels) == 3  # the two merged cells are ignored, not taught
    assert scene.has_mask.all()
    f = MPP["bbbc041seg"] / STORE_MPP
    assert scene.ignore[int(330 * f), int(330 * f)]
    assert scene.owner[int(330 * f), int(330 * f)] == 0
    np.testing.assert_allclose(bounds(scene.owner, 3), scene.boxes, atol=1.0)


def test_the_cache_gives_the_same_scene(sets_root, tmp_path):
    found = records(sets_root, "train")
    first, second = load_scenes(found, tmp_path / "c"), load_scenes(found, tmp_path / "c")
    for a, b in zip(first, second, strict=True):
        for k in ("image", "owner", "boxes", "labels", "has_mask", "ignore"):
            np.testing.assert_array_equal(getattr(a, k), getattr(b, k))
        assert (a.complete, a.source) == (b.complete, b.source)


def test_an_image_that_is_not_one_is_a_sentence(sets_root):
    record = records(sets_root, "train", ("krd_wbc",))[0]
    record.image.write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        make_scene(record)
