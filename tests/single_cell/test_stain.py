"""The stain evened out: ground and nucleus where they should be, whatever the lamp and the dye."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from cmlcore.single_cell.colours import to_input, varied
from cmlcore.single_cell.stain import NUCLEUS, WHITE, evened, ground_of, nucleus_of, ring


def cell(ground: tuple[int, int, int], density: tuple[float, float, float], side: int = 96) -> np.ndarray:
    """A nucleus and paler plasma on ground, as light that stain takes away."""
    depth = np.zeros((side, side, 1), np.float32)
    cv2.circle(depth, (side // 2, side // 2), side // 3, 0.3, -1)
    cv2.circle(depth, (side // 2, side // 2), side // 5, 1.0, -1)
    return np.clip(np.array(ground) * np.exp(-depth * np.array(density)), 0, 255).astype(np.uint8)


def tensor(*fields: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(fields)).permute(0, 3, 1, 2).float() / 255


LOOKS = [
    ((250, 225, 200), (1.3, 2.0, 0.5)),
    ((190, 195, 170), (0.8, 1.3, 0.45)),
    ((240, 240, 240), (0.6, 1.0, 0.3)),
]


@pytest.mark.parametrize(("ground", "density"), LOOKS)
def test_ground_and_nucleus_come_to_their_colours(
    ground: tuple[int, int, int], density: tuple[float, float, float]
) -> None:
    out = evened(tensor(cell(ground, density)))[0]
    np.testing.assert_allclose(out[:, 0, 0].numpy(), WHITE, atol=0.02)
    wanted = WHITE * np.exp(-np.array(NUCLEUS))
    np.testing.assert_allclose(out[:, 48, 48].numpy(), wanted, atol=0.03)


def test_one_cell_under_three_lamps_and_dyes_looks_the_same() -> None:
    a, b, c = evened(tensor(*(cell(*look) for look in LOOKS)))
    for other in (b, c):
        assert float((a - other).abs().mean()) < 0.01
    plain = tensor(*(cell(*look) for look in LOOKS))
    assert float((plain[0] - plain[1]).abs().mean()) > 0.1


def test_landmarks_equal_medians_written_out() -> None:
    field = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    pixels = field[::2, ::2].reshape(-1, 3) / 255
    best = pixels[np.argsort(-pixels.min(axis=1), kind="stable")[:40]]
    np.testing.assert_allclose(ground_of(tensor(field))[0], np.sort(best, axis=0)[19], atol=0.01)
    density = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    middle = density[0, :, 8:32, 8:32].reshape(3, -1)[:, ::3].numpy()
    dense = middle[:, np.argsort(-(middle[0] + middle[1]))[:24]]
    np.testing.assert_allclose(
        nucleus_of(density)[0], np.maximum(np.sort(dense, axis=1)[:, 11], 0.15), atol=1e-6
    )


def test_a_field_of_one_colour_stays_finite() -> None:
    for level in (0, 7, 128, 255):
        out = evened(tensor(np.full((32, 32, 3), level, np.uint8)))
        assert torch.isfinite(out).all()
        assert out.min() >= 0
        assert out.max() <= 1
    assert evened(torch.zeros(0, 3, 32, 32)).shape == (0, 3, 32, 32)


def test_each_image_is_evened_alone() -> None:
    fields = [cell(*look) for look in LOOKS]
    together = evened(tensor(*fields))
    for one, field in zip(together, fields, strict=True):
        assert torch.equal(one, evened(tensor(field))[0])


def test_training_sees_it_varied_by_the_generator_alone() -> None:
    fields = np.stack([cell(*look) for look in LOOKS])
    plain = to_input(fields, "stain+aug")
    a, b = (to_input(fields, "stain+aug", rng=np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(a, b)
    assert float((a - plain).abs().mean()) > 0.005
    small = varied(fields[0], np.random.default_rng(1), "stain+aug", 64)
    assert small.shape == (64, 64, 3)
    assert np.array_equal(small, varied(fields[0], np.random.default_rng(1), "stain+aug", 64))


def test_a_ring_of_ground_hides_the_neighbours() -> None:
    field = cell(*LOOKS[0])
    field[:20, :20] = 10
    out = ring(field, 0.4)
    assert np.abs(out[2, 2].astype(int) - (250, 225, 200)).max() <= 2
    assert np.array_equal(out[40:56, 40:56], field[40:56, 40:56])
