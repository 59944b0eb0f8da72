"""The variations: what they leave alone, and that the two doors to them agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from cmlcore.training import augment
from cmlcore.training.augment import Focus, Jpeg, Noise, StainAndLight, looks, vary_look
from cmlcore.training.settings import Augmentation

RGB = np.random.default_rng(0).integers(60, 230, (40, 50, 3)).astype(np.uint8)
EVERY = (StainAndLight, Focus, Noise, Jpeg)


@pytest.mark.parametrize("kind", EVERY)
def test_the_same_generator_gives_the_same_image(kind):
    a = kind().vary(RGB.copy(), np.random.default_rng(3))
    b = kind().vary(RGB.copy(), np.random.default_rng(3))
    np.testing.assert_array_equal(a, b)
    assert a.dtype == np.uint8
    assert a.shape == RGB.shape


@pytest.mark.parametrize("kind", EVERY)
def test_each_changes_some_images(kind):
    changed = [not np.array_equal(kind().vary(RGB, np.random.default_rng(i)), RGB) for i in range(40)]
    assert any(changed)
    assert kind is StainAndLight or not all(changed)


def test_no_strength_is_no_change():
    off = Augmentation(stain=0, light=0, blur=0, noise=0, jpeg=0)
    assert looks(off) == []
    np.testing.assert_array_equal(vary_look(RGB, np.random.default_rng(0), looks(off)), RGB)
    same = StainAndLight(0, 0).vary(RGB, np.random.default_rng(0))
    assert np.abs(same.astype(int) - RGB).max() <= 1


def test_as_transforms_they_compose_with_torchvision_s_and_leave_boxes_alone():
    chain = v2.Compose([*looks(Augmentation()), v2.RandomHorizontalFlip(p=1)])
    image = tv_tensors.Image(torch.from_numpy(RGB).permute(2, 0, 1))
    boxes = tv_tensors.BoundingBoxes([[1, 2, 11, 12]], format="XYXY", canvas_size=(40, 50))
    torch.manual_seed(5)
    first, moved = chain(image, boxes)
    torch.manual_seed(5)
    second, _ = chain(image, boxes)
    assert torch.equal(first, second)
    assert isinstance(first, tv_tensors.Image)
    assert moved.tolist() == [[39, 2, 49, 12]]  # flipped by torchvision, untouched by ours


def test_a_transform_is_the_same_as_vary_with_its_seed():
    look = StainAndLight()
    torch.manual_seed(1)
    seed = look.make_params([])["seed"]
    torch.manual_seed(1)
    out = look(torch.from_numpy(RGB).permute(2, 0, 1))
    expected = look.vary(RGB, np.random.default_rng(seed))
    np.testing.assert_array_equal(out.permute(1, 2, 0).numpy(), expected)


def test_the_density_of_grey_varies_as_said():
    look, grey = StainAndLight(light=0), np.full((2, 2, 3), 160, np.uint8)
    density = [-np.log(look.vary(grey, np.random.default_rng(i)).mean() / 255) for i in range(1000)]
    # by its own factor, and by the mean over the entries of the colour matrix: three numbers summed a channel
    assert np.std(np.log(density)) == pytest.approx(np.hypot(augment.DEPTH, augment.HUE), rel=0.08)
    assert np.median(density) == pytest.approx(-np.log(160 / 255), rel=0.08)
