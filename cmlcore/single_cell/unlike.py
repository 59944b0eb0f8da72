"""How unlike its training cells an image is, so that a classifier may answer *unknown*.

The Mahalanobis distance of an image's features to the nearest class mean, with one covariance for all
classes (Lee et al., "A simple unified framework for detecting out-of-distribution samples and adversarial
attacks", NeurIPS 2018). A softmax is confident far from all it has seen; a distance is not. The covariance
is shrunk after Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
Journal of Multivariate Analysis 88:365-411, 2004, for features outnumber the images of some sets.
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
    """Class means, the whitening of the shared covariance, and from which distance an image is unknown.

    Attributes:
        means: float32 ``(C, D)``, already whitened.
        whitening: float32 ``(D, D)``; features @ whitening have unit covariance within a class.
        limit: distance at the threshold.

    """

    means: Tensor
    whitening: Tensor
    limit: float

    def score(self, features: Tensor) -> NDArray[np.float32]:
        """Distance to the nearest class over the limit, float32 ``(N,)``: above 1 is unknown."""
        white = features.float().to(self.whitening.device) @ self.whitening
        nearest = torch.cdist(white, self.means, compute_mode="donot_use_mm_for_euclid_dist").amin(dim=1)
        return (nearest / self.limit).cpu().numpy().astype(np.float32)


def learn(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    val_features: NDArray[np.float32],
    quantile: float = QUANTILE,
) -> Unlike:
    """Learn from training features ``(N, D)`` and set the limit on features that nothing was fitted to.

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
    plain = Unlike((means @ whitening).float(), whitening.float(), 1.0)
    limit = float(np.quantile(plain.score(torch.as_tensor(val_features)), quantile))
    return Unlike(plain.means, plain.whitening, max(limit, 1e-6))


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
