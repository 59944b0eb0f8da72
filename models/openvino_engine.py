"""A network by OpenVINO on the CPU: exported from torch once, kept under ``CML_HOME``, loaded from there.

It runs type 2 more than 1.5 times as fast as torch does, in bf16 and in float32 (``benchmarks/networks.py``).
Where the package is missing, the processor is none it was measured on, or anything goes wrong, torch runs it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import platform
import secrets
import shutil
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cmlcore.settings import CpuEngine, settings
from cmlcore.versions import versions
from models.device import describe, half_type
from models.registry import ModelCard

log = logging.getLogger(__name__)

GRAPH = "net.xml"  # its weights lie beside it
KEPT = 8  # exported networks in CML_HOME, the last used ones; 48 MB each for the shipped type 2
TRUST = 0.05  # mean difference from torch's maps, in their own units, that 16 bits can explain
_FAST_ON = frozenset({"x86_64", "AMD64"})


class Asked:
    """A compiled graph of one input and one output, from any thread: it answers one caller at a time."""

    def __init__(self, ready: Any) -> None:
        self._request = ready.create_infer_request()
        self._lock = Lock()

    def __call__(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """What the graph makes of a batch."""
        with self._lock:
            answer = self._request.infer([np.ascontiguousarray(batch)], share_inputs=True)
        return np.asarray(answer[0], np.float32)


class OpenVinoNetwork:
    """A compiled network: one tile uint8 ``(3, H, W)`` in, its maps float32 ``(C + 3, h, w)`` out."""

    def __init__(self, ready: Any, device: str) -> None:
        self.device = device
        self._ask = Asked(ready)

    def __call__(self, tile: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Maps of one tile; the same bytes for the same tile, whatever came before."""
        maps: NDArray[np.float32] = self._ask(tile[None])[0]
        return maps


def wanted(device: torch.device, engine: CpuEngine) -> bool:
    """Whether OpenVINO should be tried: on a CPU it is fast on, or on any where it is asked for."""
    if device.type != "cpu" or engine == "torch":
        return False
    return engine == "openvino" or platform.machine() in _FAST_ON


def open_network(card: ModelCard, build: Callable[[], nn.Module], threads: int) -> OpenVinoNetwork | None:
    """The card's network by OpenVINO, or None (with a line in the log that says why).

    Args:
        card: names the weights; the export is kept under their sha256.
        build: makes the torch module with its weights, tiles uint8 ``(1, 3, H, W)`` to maps float32
            ``(1, C + 3, h, w)``; called only where no export is kept.
        threads: CPU threads.

    Raises:
        ModelError: from ``build``: the weights cannot be used by torch either.

    """
    try:
        openvino = load_openvino()
    except ImportError as e:
        log.info("OpenVINO is not used (%s); torch runs “%s”.", e, card.key)
        return None
    cpu = torch.device("cpu")
    half = half_type(cpu) is torch.bfloat16
    try:
        folder = settings().networks_dir / _name(card, half)
        try:
            ready = compiled(openvino, folder / GRAPH, threads, half)
        except failures(openvino):  # not there yet, or damaged
            _export(openvino, build().eval(), folder, card, threads, half)
            ready = compiled(openvino, folder / GRAPH, threads, half)
        with suppress(OSError):
            os.utime(folder)  # used last: removed last
        network = OpenVinoNetwork(ready, describe(cpu, engine="OpenVINO"))
    except failures(openvino) as e:
        log.warning("OpenVINO cannot run “%s” here, torch does: %s", card.key, str(e).strip()[:200])
        return None
    return network


def load_openvino() -> Any:
    """The package, without the part of it that reports each use to its makers.

    Raises:
        ImportError: it is not installed, or its libraries do not fit this machine.

    """
    # OpenVINO asks for this package by itself and does without it. A name that is None cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


def failures(openvino: Any) -> tuple[type[Exception], ...]:
    """What OpenVINO and torch's tracer raise; OpenVINO's own kinds have no common ancestor."""
    names = ("GeneralFailure", "InitializationFailure", "NotImplementedFailure")
    own = [*names, "OpConversionFailure", "OpValidationFailure"]
    return (RuntimeError, OSError, ValueError, TypeError, *(getattr(openvino.frontend, n) for n in own))


def _name(card: ModelCard, half: bool) -> str:
    """Of an export: changes with all that it is made from."""
    facts = {
        "weights": card.sha256,
        "architecture": card.extra.get("architecture"),
        "code": hashlib.sha256(Path(__file__).with_name("windowed_vit.py").read_bytes()).hexdigest(),
        "half": half,
        **versions("openvino", "torch", "timm"),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def compiled(openvino: Any, graph: Any, threads: int, half: bool) -> Any:
    """A graph, or the file of one, made ready for the CPU."""
    wish = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
        "ENABLE_CPU_PINNING": False,  # other work runs here too: the system knows which core is free
    }
    return openvino.Core().compile_model(graph, "CPU", wish)


# -- the export ---------------------------------------------------------------------------------------------


def _export(openvino: Any, net: nn.Module, folder: Path, card: ModelCard, threads: int, half: bool) -> None:
    """Write the network's graph and weights into ``folder``, whole and held against torch, or not at all.

    Raises:
        RuntimeError, OSError, …: one of ``failures``.

    """
    example = _example(card)
    model = converted(openvino, net, example)
    model.reshape(openvino.PartialShape([1, 3, -1, -1]))
    part = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(parents=True)
        openvino.save_model(model, part / GRAPH, compress_to_fp16=half)
        for file in part.iterdir():
            with file.open("rb") as f:
                os.fsync(f.fileno())
        _check(OpenVinoNetwork(compiled(openvino, part / GRAPH, threads, half), ""), net, example, half)
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
        try:
            part.rename(folder)
        except OSError:
            if not (folder / GRAPH).is_file():  # else another process was quicker
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _prune(folder.parent)


def _example(card: ModelCard) -> torch.Tensor:
    """A tile of one window by two: uint8 ``(1, 3, H, W)``, noise."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, card.align, 2 * card.align), dtype=np.uint8)
    return torch.from_numpy(noise)


def converted(openvino: Any, net: nn.Module, example: torch.Tensor) -> Any:
    """The module as OpenVINO's graph.

    By the frontend itself: ``openvino.convert_model`` would change the level of Python's root logger.
    """
    decoders = importlib.import_module("openvino.frontend.pytorch.ts_decoder")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, on sizes: they stay symbols
        traced = torch.jit.trace(net, example, check_trace=False)  # type: ignore[no-untyped-call]
        frontend = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
        decoder = decoders.TorchScriptPythonDecoder(traced)  # asked until ``convert`` is done: it must live
        return frontend.convert(frontend.load(decoder))


def _check(network: OpenVinoNetwork, net: nn.Module, example: torch.Tensor, half: bool) -> None:
    """Hold the export against torch on one tile.

    Raises:
        ValueError: they do not agree.

    """
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        ours = net(example)[0].float().numpy()
    theirs = network(example[0].numpy())
    off = float(np.abs(ours - theirs).mean()) if ours.shape == theirs.shape else np.inf
    if not off <= TRUST:
        raise ValueError(f"its answer differs from torch's by {off:.3g} in the mean")


def _prune(root: Path) -> None:
    """Keep the last used exports, and no remains of a process that died while it wrote."""
    with suppress(OSError):
        by_use = sorted((p for p in root.iterdir() if p.is_dir()), key=lambda p: -p.stat().st_mtime)
        for old in by_use[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
