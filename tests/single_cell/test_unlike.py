"""Both signs of an unlike image against scipy and sums written out, and the limit they are judged by."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from cmlcore.single_cell import unlike
from cmlcore.single_cell.unlike import learn


def cloud(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n)
    mix = np.random.default_rng(9).normal(size=(6, 6))
    x = rng.normal(size=(n, 6)) @ mix + 8 * np.eye(6)[y]
    return x.astype(np.float32), y


def logits(n: int, sure: float = 1.0) -> torch.Tensor:
    return sure * torch.tensor(np.random.default_rng(4).normal(size=(n, 3)), dtype=torch.float32)


def slow_shrunk(x: np.ndarray) -> np.ndarray:
    """Ledoit and Wolf's lemma, image by image."""
    n, d = x.shape
    sample = sum(np.outer(r, r) for r in x) / n
    scale = np.trace(sample) / d
    spread = np.linalg.norm(sample - scale * np.eye(d)) ** 2 / d
    noise = sum(np.linalg.norm(np.outer(r, r) - sample) ** 2 / d for r in x) / n**2
    share = min(noise, spread) / spread
    return (1 - share) * sample + share * scale * np.eye(d)


def test_distance_equals_scipy_on_the_shrunk_covariance() -> None:
    x, y = cloud(60)
    val, _ = cloud(40, 1)
    made = learn(x, y, val, logits(40))
    means = np.stack([x[y == k].astype(float).mean(axis=0) for k in range(3)])
    precision = np.linalg.inv(slow_shrunk(x - means[y]))
    expected = [min(mahalanobis(v, m, precision) for m in means) for v in val.astype(float)]
    np.testing.assert_allclose(made.distances(torch.tensor(val)), expected, rtol=2e-4)
    energy = [-np.log(np.exp(row.double().numpy()).sum()) for row in logits(40)]
    both = sum((v - np.mean(v)) / np.std(v, ddof=1) for v in (expected, energy))
    assert made.limit == pytest.approx(np.quantile(both, unlike.QUANTILE), abs=2e-3)
    slow = np.exp((both - made.limit) / 2)
    np.testing.assert_allclose(made.score(torch.tensor(val), logits(40)), slow, rtol=5e-3)


def test_the_limit_lets_its_share_of_validation_cells_through() -> None:
    x, y = cloud(300)
    val, _ = cloud(200, 1)
    made = learn(x, y, val, logits(200), quantile=0.9)
    assert (made.score(torch.tensor(val), logits(200)) > 1).mean() == pytest.approx(0.1, abs=0.01)


def test_what_is_far_from_every_class_is_unlike() -> None:
    x, y = cloud(300)
    val, _ = cloud(200, 1)
    made = learn(x, y, val, logits(200))
    far = np.full((5, 6), 60, np.float32)
    assert (made.score(torch.tensor(far), logits(5)) > 2).all()


def test_between_the_classes_a_cell_is_more_unlike() -> None:
    x, y = cloud(300)
    val, _ = cloud(200, 1)
    made = learn(x, y, val, logits(200))
    same = torch.tensor(val[:5])
    assert (made.score(same, logits(5) - 4) > made.score(same, logits(5) + 4)).all()
    assert unlike.QUANTILE == 0.975


def test_more_features_than_images_and_constant_ones_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 40)).astype(np.float32)
    x[:, 3] = 7.0
    made = learn(x, np.arange(12) % 2, x, logits(12))
    assert np.isfinite(made.score(torch.tensor(x), logits(12))).all()
    with pytest.raises(ValueError, match="validation images"):
        learn(x, np.arange(12) % 2, x[:0], logits(0))
