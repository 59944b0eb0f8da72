"""What a validation judges, on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmlcore.training.recipe import Found
from cmlcore.training.scenes import Scene
from cmlcore.training.schedule import budget_of
from cmlcore.training.settings import checked
from cmlcore.training.validation import BoxFigures, ValTiles, best_threshold


def scene(h=100, w=80, boxes=((10, 20, 30, 50), (60, 60, 80, 100)), labels=(0, 1), complete=(True, True)):
    owner = np.zeros((h, w), np.uint16)
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        owner[y0:y1, x0:x1] = i + 1
    return Scene(
        image=np.full((h, w, 3), 200, np.uint8),
        owner=owner,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        has_mask=np.ones(len(boxes), np.bool_),
        ignore=np.zeros((h, w), np.bool_),
        complete=complete,
        source="drawn",
    )


def test_an_image_at_the_model_s_scale_padded_with_white():
    (sample,) = ValTiles([scene()], 0.5, 32, 9)
    assert sample["image"].shape == (3, 64, 64)
    assert sample["image"][:, :50, :40].eq(200).all()
    assert sample["image"][:, 50:].eq(255).all()
    assert sample["boxes"].tolist() == [[5, 10, 15, 25], [30, 30, 40, 50]]
    assert sample["judge"].tolist() == [True, True]
    assert sample["owner"][20, 10] == 1
    assert sample["owner"][52, 10] == 0


def test_a_large_image_is_cut_without_overlap_and_a_cell_hardly_seen_is_not_judged(monkeypatch):
    monkeypatch.setattr("cmlcore.training.validation.MAX_SIDE", 64)
    large = scene(64, 128, boxes=((54, 10, 84, 40),), labels=(0,))  # a third to the left of the cut
    left, right = ValTiles([large], 1.0, 32, 9)
    assert left["boxes"].tolist() == [[54, 10, 64, 40]]
    assert right["boxes"].tolist() == [[0, 10, 20, 40]]
    assert left["judge"].tolist() == [False]
    assert right["judge"].tolist() == [True]


def test_images_that_say_nothing_sure_are_not_judged_and_the_limit_is_spread():
    some = [
        scene(complete=(True, False)),
        scene(complete=(False, False)),
        *[scene(w=80 + i) for i in range(8)],
    ]
    assert len(ValTiles(some, 0.5, 32, 99)) == 9
    assert len(ValTiles(some, 0.5, 32, 4)) == 4
    assert len(ValTiles([], 0.5, 32, 4)) == 0


def found(*cells):
    boxes, scores, labels = zip(*cells, strict=True) if cells else ((), (), ())
    return Found(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(labels).long(),
    )


def sample(boxes, labels, complete=(True, True), judge=None, ignore=None):
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels).long(),
        "complete": torch.tensor(complete),
        "judge": torch.tensor([True] * len(labels) if judge is None else judge),
        "ignore": torch.zeros(100, 100, dtype=torch.bool) if ignore is None else ignore,
    }


A, B, C = [10, 10, 30, 30], [50, 50, 80, 80], [10, 60, 30, 80]


def test_one_hit_one_miss_and_one_invented():
    judge = BoxFigures(("red", "white"))
    judge.see(found((A, 0.9, 0), (C, 0.8, 0), (B, 0.7, 1)), sample([A, C, B], [0, 1, 1]))
    figures = judge.compute()
    # red: one true, found first; the second is invented but comes later, so AP is 1
    assert figures.ap50["red"] == pytest.approx(1)
    # white: two true, one found: precision 1 up to recall 0.5, that is 51 of 101 points
    assert figures.ap50["white"] == pytest.approx(51 / 101)
    assert figures.map50 == pytest.approx((1 + 51 / 101) / 2)
    assert figures.score == pytest.approx({"red": 0.9, "white": 0.7})
    assert figures.images == 1
    assert judge.compute().images == 0  # it starts afresh


def test_a_class_counts_only_where_it_is_labelled_throughout():
    judge = BoxFigures(("red", "white"))
    judge.see(found((A, 0.9, 0), (B, 0.8, 1), (C, 0.7, 1)), sample([A, B], [0, 1], complete=(True, False)))
    figures = judge.compute()
    assert figures.ap50 == {"red": pytest.approx(1)}


def test_ignored_places_and_cells_hardly_seen_cost_nothing():
    ignore = torch.zeros(100, 100, dtype=torch.bool)
    ignore[55:95, 5:35] = True
    judge = BoxFigures(("red", "white"))
    judge.see(
        found((C, 0.95, 0), (B, 0.9, 0), (A, 0.8, 0)),
        sample([A, B], [0, 0], judge=[True, False], ignore=ignore),
    )
    assert judge.compute().ap50 == {"red": pytest.approx(1)}


def test_map_over_overlaps_is_stricter():
    judge = BoxFigures(("red",))
    judge.see(found(([10, 10, 30, 27.4], 0.9, 0)), sample([A], [0], complete=(True,)))  # IoU 0.87
    figures = judge.compute()
    assert figures.ap50["red"] == pytest.approx(1)
    assert figures.ap["red"] == pytest.approx(0.8)  # 0.50, 0.55 … 0.85: 8 of 10


def test_one_threshold_serves_all_classes():
    f1 = torch.tensor([0.3, 0.6, 0.9])
    high, low = torch.tensor([0.95, 0.9, 0.8]), torch.tensor([0.5, 0.4, 0.3])
    assert best_threshold([(high, f1)]) == pytest.approx(0.43, abs=0.011)  # anywhere up to 0.80
    assert best_threshold([(high, f1), (low, f1)]) == pytest.approx(0.18, abs=0.011)  # up to 0.30: both whole
    assert best_threshold([]) == best_threshold([(torch.zeros(3), f1)]) == 0.5


def test_an_epoch_covers_the_training_images_once():
    scenes = [scene(1000, 800) for _ in range(6)]  # at half scale: 500 × 400 each, 1.2 million pixels
    settings = checked({"epochs": 10, "batch": 2, "tile": 256, "mpp": 0.2})
    budget = budget_of(settings, scenes, 0.1, 256 * 256)
    assert budget.epoch == 10  # 18.3 tiles, two a step
    assert budget.steps == 100
    assert budget.every == 50  # five epochs: a validation is worth 50 steps
    assert budget_of(settings.model_copy(update={"devices": 2}), scenes, 0.1, 256 * 256).epoch == 5
    limited = checked({"epochs": 10, "steps": 30, "minutes": 2, "batch": 2, "tile": 256})
    made = budget_of(limited, scenes, 0.1, 256 * 256)
    assert (made.steps, made.seconds, made.every) == (30, 120, 30)
