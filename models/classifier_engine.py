"""The body of a classifier by OpenVINO on the CPU: four times as fast as by torch, one image at a time.

Compiled in memory when a classifier is loaded (a second for EfficientNet-Lite0, three for DINOv2 ViT-S).
Where the package is not installed, the processor is none it is fast on, or anything goes wrong, torch does
the work.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cmlcore.settings import settings
from models.classifiers import Classifier
from models.device import half_type
from models.openvino_engine import Asked, compiled, converted, failures, load_openvino, wanted

log = logging.getLogger(__name__)

TRUST = 0.05  # difference from torch's features, relative to their spread, that 16 bits can explain


class OpenVinoBody:
    """A compiled body: images float ``(B, C, H, W)`` in 0..1 to features float32 ``(B, width)``."""

    def __init__(self, ready: Any) -> None:
        self._ask = Asked(ready)

    def __call__(self, images: Tensor) -> Tensor:
        """Features of a batch of any size but none."""
        return torch.from_numpy(self._ask(images.numpy()))


class _Features(nn.Module):
    def __init__(self, net: Classifier) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        return self.net.features(images)


def compile_body(net: Classifier, channels: int, side: int, device: torch.device) -> OpenVinoBody | None:
    """The body of a network by OpenVINO, held against torch; None (with a line in the log) where it cannot.

    A Vision Transformer runs with 16 bits where the processor has them, a convolutional network with 32.

    Args:
        net: with its weights, in evaluation mode; later changes to its body are not followed.
        channels: of its images.
        side: of them in pixels.
        device: what was asked for; only a CPU is served.

    """
    if not wanted(device, settings().cpu_engine):
        return None
    try:
        openvino = load_openvino()
    except ImportError as e:
        log.info("OpenVINO is not used (%s); torch runs %s.", e, net.base.title)
        return None
    half = net.base.plain and half_type(device) is torch.bfloat16
    example = torch.from_numpy(
        np.random.default_rng(0).uniform(0, 1, (2, channels, side, side)).astype(np.float32)
    )
    try:
        graph = converted(openvino, _Features(net).eval(), example)
        graph.reshape(openvino.PartialShape([-1, channels, side, side]))
        body = OpenVinoBody(compiled(openvino, graph, torch.get_num_threads(), half))
        with torch.inference_mode():
            ours = net.features(example).float()
        off = float((body(example) - ours).abs().mean() / ours.std().clamp_min(1e-6))
    except failures(openvino) as e:
        log.warning("OpenVINO cannot run %s here, torch does: %s", net.base.title, str(e).strip()[:200])
        return None
    if not off <= TRUST:
        log.warning("OpenVINO's features of %s are off by %.3g, torch makes them.", net.base.title, off)
        return None
    return body
