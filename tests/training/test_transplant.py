"""Cells laid into other scenes: they are labelled where they lie, and the ground around them is untouched."""

from dataclasses import replace

import numpy as np
import pytest

from cmlcore.training.scenes import Scene
from cmlcore.training.transplant import donors, transplanted

GROUND, CELL = 200, 100


def scene(ground: int = GROUND, *, at: tuple[int, int] = (30, 40), label: int = 2) -> Scene:
    """A field of bare ground with one round cell, 100 × 120 pixels."""
    y, x = np.mgrid[:100, :120]
    mask = (y - at[0]) ** 2 + (x - at[1]) ** 2 <= 8**2
    image = np.full((100, 120, 3), ground, np.uint8)
    image[mask] = round(ground * CELL / GROUND)
    ys, xs = np.nonzero(mask)
    box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
    return Scene(
        image=image,
        owner=mask.astype(np.uint16),
        boxes=box,
        labels=np.array([label]),
        has_mask=np.array([True]),
        ignore=np.zeros(mask.shape, np.bool_),
        complete=(True, True, True),
        source="drawn",
    )


def test_only_whole_outlined_cells_of_the_rare_classes_are_taken():
    assert len(donors([scene()], [2])) == 1
    assert donors([scene(label=0)], [2]) == []
    assert donors([scene(at=(3, 40))], [2]) == []  # cut by the edge


def test_a_cell_takes_the_same_share_of_another_ground_s_light():
    pool = donors([scene()], [2])
    target = scene(120, at=(80, 20))
    made = transplanted(target, pool, np.random.default_rng(1))
    assert len(made.labels) > 1
    assert made.labels.tolist() == [2] * len(made.labels)
    for i in range(1, len(made.labels)):
        inside = made.owner == i + 1
        ys, xs = np.nonzero(inside)
        assert inside.sum() == pool[0].mask.sum()
        assert made.boxes[i].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        # (cell + 1) / (ground + 1) of the donor is the transmission; a grey level of rounding
        assert made.image[inside] == pytest.approx(120 * (CELL + 1) / (GROUND + 1), abs=1)
    untouched = (made.owner == target.owner) & (np.abs(made.image.astype(int) - target.image).max(2) <= 1)
    assert untouched.mean() > 0.8


def test_the_scene_given_is_left_alone_and_the_cells_that_were_there_stay():
    target = scene(at=(80, 20))
    before = target.image.copy(), target.owner.copy()
    made = transplanted(target, donors([scene()], [2]), np.random.default_rng(0))
    assert (target.image == before[0]).all()
    assert (target.owner == before[1]).all()
    assert (made.owner == 1).sum() == (target.owner == 1).sum()
    assert made.boxes[:1].tolist() == target.boxes.tolist()


def test_nothing_is_laid_where_nothing_may_be_learned():
    target = scene(at=(80, 20))
    target.ignore[:] = True
    assert transplanted(target, donors([scene()], [2]), np.random.default_rng(0)) is target


def test_no_cell_is_laid_where_its_class_is_not_labelled_completely():
    pool = donors([scene()], [2])
    partial = replace(scene(), complete=(True, True, False))
    assert transplanted(partial, pool, np.random.default_rng(0)) is partial
    mixed = [*pool, replace(pool[0], label=1)]
    seen = {
        int(c)
        for seed in range(20)
        for c in transplanted(partial, mixed, np.random.default_rng(seed)).labels[len(partial.labels) :]
    }
    assert seen == {1}
