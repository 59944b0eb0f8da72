"""How fast are the networks, stage by stage, and would another way to run them be faster?

    python benchmarks/networks.py --data DATA                    both types, this machine's default device
    python benchmarks/networks.py --data DATA --model type2 --threads 1 2 --batch 1 4 --only "bf16|OpenVINO"

One tile of real, densely covered smear, cut from the fields in DATA (folders ``bbbc041seg`` and ``txl_pbc``),
goes through every variant in turn, round after round, so that all of them meet the same disturbances: compare
the column ``speed``, the median over the rounds of default's time by variant's. ``same`` is the share of the
default's cells that the variant finds with the same class and an outline of IoU 0.99 or more. ONNX Runtime
(with onnx and onnxscript), OpenVINO and a compiler for torch.compile are used where they are installed; none
is required. CML_CPU_ENGINE=torch makes torch the default to compare with. (Were this file called models.py,
every script beside it would take it for the package.)
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import re
import shutil
import statistics
import tempfile
import time
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from segment import MPP, smear
from torch import Tensor, nn

from models import grouping, openvino_engine, type1, type2
from models.base import Instances
from models.device import half_type
from models.registry import card, load_model

STAGES = ("copy in", "network", "heads", "outlines")
Network = Callable[[Tensor], Any]
Maps = Callable[[Tensor], list[NDArray[np.float32]]]  # of a batch uint8 (N, 3, H, W)
Answer = tuple[dict[str, float], list[Instances]]


class UnavailableError(Exception):
    """A variant that this machine cannot run, and why."""


@dataclass
class Variant:
    """One way to run a network: a batch uint8 (N, 3, H, W) in, seconds by stage and cells out."""

    name: str
    run: Callable[[NDArray[np.uint8]], Answer]


class Clock:
    """Seconds since the last look, by stage; waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self.times: Counter[str] = Counter()
        self._device, self._last = device, time.perf_counter()

    def note(self, stage: str) -> None:
        """Add the time since the last look to a stage."""
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.times[stage] += now - self._last
        self._last = now


@contextlib.contextmanager
def outlines_apart(module: Any, name: str, times: Counter[str]) -> Iterator[None]:
    """Time the calls of one function of a module as the stage ``outlines`` and take them out of ``heads``."""
    own = getattr(module, name)

    def timed(*args: Any, **more: Any) -> Any:
        start = time.perf_counter()
        made = own(*args, **more)
        spent = time.perf_counter() - start
        times["outlines"] += spent
        times["heads"] -= spent
        return made

    with patch.object(module, name, timed):
        yield


# -- the road of each type --------------------------------------------------------------------------------


def road2(model: type2.Type2, maps: Maps, device: torch.device) -> Callable[[NDArray[np.uint8]], Answer]:
    """Type 2: maps by ``maps``, grouped one tile at a time."""
    least = float(model.card["min_score"])

    @torch.inference_mode()
    def run(batch: NDArray[np.uint8]) -> Answer:
        clock = Clock(device)
        image = torch.from_numpy(batch).to(device)
        clock.note("copy in")
        made = maps(image)
        clock.note("network")
        with outlines_apart(grouping, "_outline", clock.times):
            found = [grouping.group(m, model.grouping, least, model.calibration) for m in made]
        clock.note("heads")
        return dict(clock.times), found

    return run


def road1(model: type1.Type1, network: Network, half: bool = False) -> Callable[[NDArray[np.uint8]], Answer]:
    """Type 1: the feature pyramid by ``network``; proposals, votes and masks by torch."""
    least, net = float(model.card["min_score"]), model._net

    @torch.inference_mode()
    def run(batch: NDArray[np.uint8]) -> Answer:
        clock = Clock(model._device)
        tiles = torch.from_numpy(batch).to(model._device)
        clock.note("copy in")
        net.roi_heads.min_score = model.calibration.raw_floor(least)
        found = []
        for part in torch.split(tiles, 1 if model._device.type == "cpu" else len(tiles)):  # as predict does
            with autocast(model._device, half):
                images, _ = net.transform(list(part))
                features = network(images.tensors)
                clock.note("network")
                proposals, _ = net.rpn(images, features)
                found += net.roi_heads(features, proposals, images.image_sizes)[0]
            clock.note("heads")
        with outlines_apart(type1, "box_mask_outline", clock.times):
            cells = [model._instances(f, least) for f in found]
        clock.note("heads")
        return dict(clock.times), cells

    return run


def autocast(device: torch.device, half: bool) -> contextlib.AbstractContextManager[Any]:
    """16 bits or 32."""
    return torch.autocast(device.type, half_type(device) or torch.bfloat16, enabled=half)


# -- ways to run a module ------------------------------------------------------------------------------------


def compiled(module: nn.Module) -> nn.Module:
    """By torch.compile, one shape."""
    if not (shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")):
        raise UnavailableError("no C++ compiler")
    return torch.compile(module, dynamic=False)  # type: ignore[return-value]


def in_onnxruntime(module: nn.Module, example: Tensor, threads: int, folder: Path) -> Network:
    """By ONNX Runtime on the CPU, float32."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(package) is None:
            raise UnavailableError(f"{package} is not installed")
    import onnxruntime

    path = folder / "net.onnx"
    torch.onnx.export(module, (example,), path, dynamo=True, verbose=False)
    wish = onnxruntime.SessionOptions()
    wish.intra_op_num_threads, wish.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(path, wish, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: [torch.from_numpy(o) for o in session.run(None, {name: x.numpy()})]


def in_openvino(module: nn.Module, example: Tensor, threads: int, precision: str) -> Network:
    """By OpenVINO on the CPU, one shape; ``precision`` is f32 or bf16."""
    try:
        openvino = openvino_engine.load_openvino()
    except ImportError as e:
        raise UnavailableError("openvino is not installed") from e
    made = openvino_engine.converted(openvino, module, example)
    made.reshape(list(example.shape))
    wish = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(made, "CPU", wish).create_infer_request()

    def run(x: Tensor) -> list[Tensor]:
        answer = request.infer([x.numpy()])
        return [torch.from_numpy(answer[i]) for i in range(len(answer))]

    return run


# -- the variants -------------------------------------------------------------------------------------------

Maker = tuple[str, Callable[[], Callable[[NDArray[np.uint8]], Answer]]]


def variants2(model: type2.Type2, shape: tuple[int, ...], threads: int, folder: Path) -> list[Maker]:
    """Type 2's variants, the product's default first."""
    if isinstance(model.maps, type2.TorchNetwork):
        torch_maps, by = model.maps, "eager"
    else:
        torch_maps = type2.load(card(model.key), "cpu", threads, "torch").maps
        by = "OpenVINO"
    net, device = torch_maps.net, torch_maps.where
    plain = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    example = torch.zeros(shape, dtype=torch.uint8)

    def contiguous(x: Tensor) -> Tensor:
        x = (x.float() - plain.mean) / plain.std
        return plain.decoder(x.contiguous(), plain.tokens(x).contiguous())

    def run(network: Network, half: bool) -> Callable[[NDArray[np.uint8]], Answer]:
        def maps(x: Tensor) -> list[NDArray[np.float32]]:
            with autocast(device, half):
                raw = network(x)
            return [type2.as_probabilities(r.float()).cpu().numpy() for r in raw]

        return road2(model, maps, device)

    def first(network: Network) -> Callable[[NDArray[np.uint8]], Answer]:
        return run(lambda x: network(x)[0], False)

    default, other = (True, False) if half_type(device) else (False, True)
    word = {True: "bf16" if half_type(device) != torch.float16 else "fp16", False: "fp32"}
    made: list[Maker] = [
        (
            f"{by} {word[default]} (default)",
            lambda: road2(model, lambda x: [model.maps(t) for t in x.cpu().numpy()], device),
        ),
        (f"eager {word[default]}, channels_last", lambda: run(net, default)),
        (f"eager {word[default]}, contiguous", lambda: run(contiguous, default)),
        (f"eager {word[other]}, channels_last", lambda: run(net, other)),
        (f"compiled {word[default]}", lambda: run(compiled(net), default)),
        (f"compiled {word[other]}", lambda: run(compiled(net), other)),
    ]
    if device.type == "cpu":
        made += [
            ("ONNX Runtime fp32", lambda: first(in_onnxruntime(net, example, threads, folder))),
            ("OpenVINO fp32, one shape", lambda: first(in_openvino(net, example, threads, "f32"))),
            ("OpenVINO bf16, one shape", lambda: first(in_openvino(net, example, threads, "bf16"))),
        ]
    return made


class Levels(nn.Module):
    """A feature pyramid that gives a tuple, as exporters want it."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps from fine to coarse."""
        return tuple(self.backbone(x).values())


def variants1(model: type1.Type1, shape: tuple[int, ...], threads: int, folder: Path) -> list[Maker]:
    """Type 1's variants, the product's default first; what is swapped is the feature pyramid."""
    net, device = model._net, model._device
    plain = copy.deepcopy(net.backbone).to(memory_format=torch.contiguous_format)
    names = [str(i) for i in range(len(model.card["architecture"]["strides"]))]
    levels, example = Levels(net.backbone), torch.zeros((1, *shape[1:]))

    def named(network: Network) -> Network:
        return lambda x: OrderedDict(zip(names, network(x), strict=True))

    made: list[Maker] = [
        (
            "eager fp32, channels_last (default)",
            lambda: road1(model, lambda x: net.backbone(x.contiguous(memory_format=torch.channels_last))),
        ),
        ("eager fp32, contiguous", lambda: road1(model, lambda x: plain(x.contiguous()))),
        ("eager 16 bit, channels_last", lambda: road1(model, net.backbone, half=True)),
        ("compiled fp32", lambda: road1(model, compiled(net.backbone))),
    ]
    if device.type == "cpu":
        made += [
            (
                "ONNX Runtime fp32",
                lambda: road1(model, named(in_onnxruntime(levels, example, threads, folder))),
            ),
            ("OpenVINO fp32", lambda: road1(model, named(in_openvino(levels, example, threads, "f32")))),
            ("OpenVINO bf16", lambda: road1(model, named(in_openvino(levels, example, threads, "bf16")))),
        ]
    return made


# -- measuring ----------------------------------------------------------------------------------------------


def tile_of(data: Path, side: int, mpp: float) -> NDArray[np.uint8]:
    """A tile of dense cells at the model's pixel size, uint8 (3, side, side)."""
    picture = smear(data, (side * mpp / 1000 * 1.1) ** 2)
    scale = MPP / mpp
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(picture[:side, :side].transpose(2, 0, 1))


def same_cells(reference: Sequence[Instances], found: Sequence[Instances]) -> float:
    """Share of the reference's cells that are found with the same class and an outline of IoU ≥ 0.99."""
    good = total = 0
    for a, b in zip(reference, found, strict=True):
        shapes = [shapely.Polygon(o) for o in b.outlines]
        tree = shapely.STRtree(shapes)
        for outline, cls in zip(a.outlines, a.classes, strict=True):
            shape = shapely.Polygon(outline)
            near = [i for i in tree.query(shape).tolist() if b.classes[i] == cls]
            good += any(
                shape.intersection(shapes[i]).area >= 0.99 * shape.union(shapes[i]).area for i in near
            )
        total += len(a)
    return good / max(1, total)


def ready(makers: Sequence[Maker], batch: NDArray[np.uint8], only: str) -> tuple[list[Variant], list[Answer]]:
    """Build the variants and run each once; those that cannot run here are named, with the reason."""
    variants, first = [], []
    for k, (name, make) in enumerate(makers):
        if k and not re.search(only, name):
            continue
        start = time.perf_counter()
        try:
            variant = Variant(name, make())
            first.append(variant.run(batch))
        except UnavailableError as e:
            print(f"  {name}: not measured, {e}")
            continue
        variants.append(variant)
        print(f"  {name}: ready after {time.perf_counter() - start:.1f} s", flush=True)
    return variants, first


def measure(makers: Sequence[Maker], batch: NDArray[np.uint8], rounds: int, only: str) -> None:
    """Run the variants in turn and print a line each."""
    variants, first = ready(makers, batch, only)
    taken: list[list[dict[str, float]]] = [[] for _ in variants]
    for _ in range(rounds):
        for variant, times in zip(variants, taken, strict=True):
            times.append(variant.run(batch)[0])
    whole = [[sum(t.values()) for t in times] for times in taken]
    print(f"\n  {'':<38}{'images/s':>9}" + "".join(f"{s + ' ms':>13}" for s in STAGES) + "  speed   same")
    for variant, times, sums, answer in zip(variants, taken, whole, first, strict=True):
        ms = [1000 * statistics.median(t.get(s, 0.0) for t in times) / len(batch) for s in STAGES]
        speed = statistics.median(a / b for a, b in zip(whole[0], sums, strict=True))
        rate = len(batch) / statistics.median(sums)
        same = same_cells(first[0][1], answer[1])
        print(f"  {variant.name:<38}{rate:>9.2f}" + "".join(f"{v:>13.1f}" for v in ms), end="")
        print(f"{speed:>6.2f}×{100 * same:>6.1f} %")
    after = statistics.median((t["heads"] + t["outlines"]) / t["network"] for t in taken[0])
    cells = sum(map(len, first[0][1])) // len(batch)
    print(
        f"  {cells} cells a tile; heads and outlines take {100 * after:.0f} % of the default network's time\n"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", nargs="+", default=["type1", "type2"], help="keys of model cards")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", nargs="+", type=int, default=[0], help="0: all cores")
    parser.add_argument("--batch", nargs="+", type=int, default=[1])
    parser.add_argument("--tile", type=int, help="side in model pixels; default: the card's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="regular expression: variants to run beside the default")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for key in args.model:
        for threads in args.threads:
            model: Any = load_model(key, args.device, threads)
            tile = tile_of(args.data, args.tile or model.grid.tile, model.mpp)
            variants = variants1 if isinstance(model, type1.Type1) else variants2
            for n in args.batch:
                batch = np.repeat(tile[None], n, axis=0)
                print(f"{key}, batch {n} of {batch.shape[2]} × {batch.shape[3]} px, ", end="")
                print(model.device)
                with tempfile.TemporaryDirectory() as folder:
                    makers = variants(model, batch.shape, torch.get_num_threads(), Path(folder))
                    measure(makers, batch, args.rounds, args.only)


if __name__ == "__main__":
    main()
