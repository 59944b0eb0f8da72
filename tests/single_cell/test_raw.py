"""The camera pipeline backwards and forth, against a scalar reference and its own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cmlcore.single_cell.raw import (
    CAMERA,
    Camera,
    demosaic,
    forward,
    inverse,
    inverse_tone,
    mosaic,
    tone,
    unprocess,
)

XYZ_TO_CAMERA = np.mean(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.613, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.838, -0.263, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.097, 0.1581, 0.5181]],
    ],
    axis=0,
)
RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def scalar_inverse(rgb: tuple[float, float, float]) -> list[float]:
    """One pixel, formula by formula, in plain Python."""
    matrix = XYZ_TO_CAMERA @ RGB_TO_XYZ
    matrix /= matrix.sum(axis=1, keepdims=True)
    linear = [max(0.5 - math.sin(math.asin(1 - 2 * v) / 3), 1e-8) ** 2.2 for v in rgb]
    camera = [sum(matrix[i, j] * linear[j] for j in range(3)) for i in range(3)]
    out = []
    for y, g in zip(camera, CAMERA.gains, strict=True):
        alpha = (max(y - 0.9, 0) / 0.1) ** 2
        out.append(max(y / g, (1 - alpha) * y / g + alpha * y))
    return out


def all_colours(step: int, first: int = 0) -> torch.Tensor:
    grid = torch.arange(first, 256, step).float() / 255
    return torch.stack(torch.meshgrid(grid, grid, grid, indexing="ij")).reshape(3, 1, -1)


def test_inverse_equals_the_scalar_reference() -> None:
    rng = np.random.default_rng(1)
    pixels = np.concatenate([rng.random((60, 3)), np.eye(3), np.ones((1, 3)), np.zeros((1, 3))])
    pixels = np.concatenate([pixels, 0.97 + 0.03 * rng.random((40, 3))])  # highlights
    image = torch.tensor(pixels.T[:, None], dtype=torch.float64)
    expected = np.array([scalar_inverse(tuple(p)) for p in pixels])
    np.testing.assert_allclose(inverse(image)[:, 0].T.numpy(), expected, atol=1e-9)


def test_forward_undoes_inverse_for_every_colour() -> None:
    colours = torch.cat([all_colours(5), all_colours(1, 236)], dim=-1)  # every highlight
    back = forward(inverse(colours))
    assert float((back - colours).abs().max()) < 0.1 / 255
    assert torch.equal((back * 255).round(), (colours * 255).round())


def test_raw_light_stays_within_its_range_so_nothing_is_clipped() -> None:
    raw = inverse(all_colours(15))
    assert float(raw.min()) >= 0
    assert float(raw.max()) <= 1
    assert bool((Camera.to_camera(torch.zeros(())) >= 0).all())


def test_white_and_black_stay_white_and_black() -> None:
    ends = torch.tensor([[0.0, 1.0]]).expand(3, 1, 2)
    raw = inverse(ends)
    assert torch.allclose(raw[..., 1], torch.ones(3, 1), atol=1e-6)
    assert float(raw[..., 0].max()) < 1e-6


def test_gains_darken_mid_grey_by_the_white_balance() -> None:
    raw = inverse(torch.full((3, 1, 1), 0.5)).flatten()
    linear = 0.5**2.2  # the tone curve keeps one half
    expected = torch.tensor([linear / g for g in CAMERA.gains])
    assert torch.allclose(raw, expected, rtol=1e-5)


def test_tone_curve_is_smoothstep_and_its_inverse() -> None:
    x = torch.linspace(0, 1, 101, dtype=torch.float64)
    assert torch.allclose(tone(x), 3 * x**2 - 2 * x**3)
    assert torch.allclose(inverse_tone(tone(x)), x, atol=1e-9)


def test_another_camera_round_trips_too() -> None:
    camera = Camera((1.0, 0.8, 3.0))  # no gain, a gain below one, a large one
    colours = all_colours(17)
    assert float((forward(inverse(colours, camera), camera) - colours).abs().max()) < 0.1 / 255


def test_batches_and_single_images_agree() -> None:
    batch = torch.rand(2, 5, 3, 4, 6)
    one_by_one = torch.stack([torch.stack([inverse(i) for i in row]) for row in batch])
    assert torch.allclose(inverse(batch), one_by_one, atol=1e-7)


def test_mosaic_packs_the_sites_of_a_bayer_pattern() -> None:
    image = torch.arange(3 * 4 * 6, dtype=torch.float32).reshape(3, 4, 6)
    packed = mosaic(image)
    assert packed.shape == (4, 2, 3)
    for y in range(2):
        for x in range(3):
            assert packed[0, y, x] == image[0, 2 * y, 2 * x]
            assert packed[1, y, x] == image[1, 2 * y, 2 * x + 1]
            assert packed[2, y, x] == image[1, 2 * y + 1, 2 * x]
            assert packed[3, y, x] == image[2, 2 * y + 1, 2 * x + 1]


def slow_demosaic(packed: np.ndarray) -> np.ndarray:
    """Known where sampled; else the weighted mean of sampled neighbours (edge 2, corner 1)."""
    _, h, w = packed.shape
    full = np.full((3, 2 * h, 2 * w), np.nan)
    for site, (c, dy, dx) in enumerate(((0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 1, 1))):
        full[c, dy::2, dx::2] = packed[site]
    out = full.copy()
    for c, y, x in np.argwhere(np.isnan(full)):
        total = weight = 0.0
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if 0 <= y + dy < 2 * h and 0 <= x + dx < 2 * w and not np.isnan(full[c, y + dy, x + dx]):
                    k = (2 - abs(dy)) * (2 - abs(dx))
                    total, weight = total + k * full[c, y + dy, x + dx], weight + k
        out[c, y, x] = total / weight
    return out


def test_demosaic_equals_the_slow_reference() -> None:
    packed = torch.rand(4, 5, 7, dtype=torch.float64)
    np.testing.assert_allclose(demosaic(packed).numpy(), slow_demosaic(packed.numpy()), atol=1e-12)


def test_demosaic_keeps_what_the_mosaic_sampled() -> None:
    packed = torch.rand(3, 4, 6, 8)
    assert torch.equal(mosaic(demosaic(packed)), packed)


def test_forms_have_the_shapes_they_promise() -> None:
    image = torch.rand(2, 3, 8, 10)
    assert torch.equal(unprocess(image), inverse(image))
    assert unprocess(image, "packed").shape == (2, 4, 4, 5)
    with pytest.raises(ValueError, match="even sides"):
        unprocess(torch.rand(3, 7, 8), "packed")


def test_the_pipeline_stays_on_its_inputs_device() -> None:
    """On "meta" any tensor made elsewhere would be an error, as it would be on a GPU."""
    image = torch.empty(2, 3, 8, 8, device="meta")
    for made in (inverse(image), forward(image), unprocess(image, "packed"), demosaic(mosaic(image))):
        assert made.device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device on this machine")
def test_a_gpu_gives_what_the_processor_gives() -> None:
    image = all_colours(15)
    assert torch.allclose(inverse(image.cuda()).cpu(), inverse(image), atol=1e-5)
    back = forward(inverse(image.cuda())).cpu()
    assert float((back - image).abs().max()) < 1 / 255
