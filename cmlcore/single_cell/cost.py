"""What a backbone costs: counted without memory, and measured in a process of its own.

Conventions, those of the counters in common use. *FLOPs* are multiply-adds of convolutions, linear layers
and attention, plus two operations an element for a norm, one for an activation function and one an input
element of a pooling layer (ptflops). *Activations* are the elements that convolutions give (fvcore's
count for convolutional networks); of a Vision Transformer, those of convolutions and linear layers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cmlcore.errors import ModelError
from models.classifiers import SIDE, Classifier, backbone, build
from models.device import autocast, choose_device, describe, set_threads

_NORMS = (nn.BatchNorm2d, nn.LayerNorm)
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU)
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)


@dataclass(frozen=True, slots=True)
class Cost:
    """Properties of a network for one RGB image of ``SIDE`` pixels.

    Attributes:
        parameters: numbers it has learnt.
        flops: see the module's conventions.
        activations: see there.
        conv2d: how many Conv2d layers it has.

    """

    key: str
    title: str
    classes: int
    parameters: int
    flops: int
    activations: int
    conv2d: int

    def row(self) -> dict[str, Any]:
        """For tables and JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds and memory on one device; ``memory_mb`` holds weights and working memory."""

    key: str
    device: str
    batch: int
    seconds_per_image: float
    memory_mb: float


@torch.no_grad()
def cost(key: str, classes: int = 15) -> Cost:
    """Count a backbone with a last layer of ``classes`` outputs; takes no memory for weights."""
    net = build(key, classes, "meta").eval()
    extra, outputs, convs = [0], {"conv": 0, "linear": 0}, 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            outputs["conv"] += output.numel()
        elif isinstance(module, nn.Linear):
            outputs["linear"] += output.numel()
        elif isinstance(module, _NORMS):
            extra[0] += 2 * inputs[0].numel()
        elif isinstance(module, _POOLS):
            extra[0] += inputs[0].numel()
        elif isinstance(module, _ACTIVATIONS):
            extra[0] += output.numel()

    for module in net.modules():
        module.register_forward_hook(count)
        convs += isinstance(module, nn.Conv2d)
    with FlopCounterMode(display=False) as counter:
        net(torch.empty(1, 3, SIDE, SIDE, device="meta"))
    parameters = sum(p.numel() for p in net.parameters())
    seen = outputs["conv"] + (outputs["linear"] if net.base.plain else 0)
    flops = counter.get_total_flops() // 2 + extra[0]
    return Cost(key, net.base.title, classes, parameters, flops, seen, convs)


def measure(key: str, device: str = "auto", batch: int = 8, repeats: int = 5, threads: int = 0) -> Measured:
    """Time and memory of a forward pass with random weights, in a fresh process so that peaks are its own.

    Raises:
        ModelError: the device is not there, or the memory does not suffice.

    """
    backbone(key)
    choose_device(device)
    command = [sys.executable, "-m", "cmlcore.single_cell.cost", key, device, str(batch), str(repeats)]
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(p for p in (str(root), os.environ.get("PYTHONPATH", "")) if p)
    environment = {**os.environ, "PYTHONPATH": path, "CML_THREADS": str(threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=False)
    if done.returncode:
        raise ModelError(f"{backbone(key).title} could not be measured here; try a smaller --batch.")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


@torch.inference_mode()
def _measure_here(key: str, device: str, batch: int, repeats: int) -> Measured:
    chosen = choose_device(device)
    set_threads(int(os.environ.get("CML_THREADS", "0")))
    gpu = chosen.type == "cuda"
    before = _peak_mb()
    net = build(key, 15).eval().to(chosen)
    images = torch.rand(batch, 3, SIDE, SIDE, device=chosen)
    _run(net, images, chosen)  # the first call sets up kernels
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        _run(net, images, chosen)
        seconds.append((time.perf_counter() - start) / batch)
    memory = torch.cuda.max_memory_allocated(chosen) / 2**20 if gpu else _peak_mb() - before
    return Measured(key, describe(chosen), batch, sum(seconds) / len(seconds), memory)


def _run(net: Classifier, images: torch.Tensor, device: torch.device) -> None:
    with autocast(device):
        net(images)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_mb() -> float:
    """Most memory this process has held so far, in MB."""
    if sys.platform == "linux":  # getrusage would give the parent's peak, which a child inherits
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    import resource  # absent on Windows, where only this measurement needs it

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    name, where, count_, times = sys.argv[1:]
    print(json.dumps(asdict(_measure_here(name, where, int(count_), int(times)))))
