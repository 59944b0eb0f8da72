"""Weights averaged over the steps of training: they do better than those of any one step, at no cost later.

Polyak & Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control Optim. 30:838-855,
1992; with exponential forgetting, as in Tarvainen & Valpola, "Mean teachers", NeurIPS 2017.
"""

from __future__ import annotations

import copy

import torch

from models.classifiers import Classifier


class Averaged:
    """A copy of a network whose weights and statistics follow it slowly; more quickly in the first steps."""

    def __init__(self, net: Classifier, keep: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self._keep = keep
        self._steps = 0

    @torch.no_grad()
    def update(self, net: Classifier) -> None:
        """Take a step towards ``net``."""
        self._steps += 1
        keep = min(self._keep, self._steps / (9 + self._steps))
        for own, new in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if own.is_floating_point():
                own.lerp_(new, 1 - keep)
            else:
                own.copy_(new)
