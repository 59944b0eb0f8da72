"""How fast a run's leukocytes are named, against the loop one would write, and with how much memory.

    python benchmarks/classify.py speed  --cells 400 [--backbone efficientnet_lite0 --weights FILE]
    python benchmarks/classify.py memory

``speed`` lays real fields of the labelled sets side by side (``benchmarks/segment.py``), writes a CZI, and
names cells all over it twice with the same network on the CPU, each in a process of its own: by
``single_cell.stream``, and by a plain loop (read a cell's square, resize, predict in float32, one by one).
``memory`` names 2,000 and 10,000 cells of an endless slide and compares the peaks.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from cmlcore.cells import CELL_SCHEMA, CellTable, with_run_facts, write_part
from cmlcore.geometry import Mpp, Region

MPP = 0.22
SIDE = 224
CLASSES = ("erythrocyte", "leukocyte", "thrombocyte")


def table(folder: Path, cells: int, side: int) -> CellTable:
    """A run of leukocytes all over a square scene, in the order in which blocks give them."""
    rng = np.random.default_rng(0)
    done = 0
    for block in range(max(1, cells // 500)):
        n = min(500, cells - done)
        xy = rng.uniform(60, side - 60, (n, 2)).astype(np.float32)
        one = np.ones(n, np.float32)
        columns = {
            "cell_id": np.arange(n) + block * 100_000,
            "block": np.full(n, block, np.int32),
            "cls": ["leukocyte"] * n,
            "probs": [[0.0, 1.0, 0.0]] * n,
            "x_l0": xy[:, 0],
            "y_l0": xy[:, 1],
            "outline_l0": [[0.0, 0.0, 1.0, 0.0, 1.0, 1.0]] * n,
        }
        arrays = [pa.array(columns.get(f.name, one), f.type) for f in CELL_SCHEMA]
        schema = with_run_facts(CELL_SCHEMA, CLASSES, Mpp(MPP, MPP))
        write_part(folder, block, pa.Table.from_arrays(arrays, schema=schema))
        done += n
    return CellTable(folder)


def classifier(backbone: str, weights: str):
    """A network of 11 classes on the CPU; its last layer is random, which costs the same."""
    import torch

    from cmlcore.single_cell.classify import CellClassifier
    from cmlcore.single_cell.shelf import ClassifierCard
    from cmlcore.single_cell.unlike import Unlike
    from models.classifiers import build, load_backbone

    torch.manual_seed(0)
    names = tuple(f"class_{i}" for i in range(11))
    net = build(backbone, len(names))
    if weights:
        load_backbone(net, Path(weights))
    width = net.base.width
    unlike = Unlike(torch.zeros(len(names), width), torch.eye(width), 1.0, (0.0, 1.0), (0.0, 1.0))
    card = ClassifierCard("b", "B", backbone, "last", "rgb", names, 22.0, SIDE, Path("b.safetensors"), "")
    return CellClassifier(card, net, unlike, torch.device("cpu"))


# -- the two contestants --------------------------------------------------------------------------------


def streamed(slide: Path, run: Path, backbone: str, weights: str) -> dict[str, object]:
    """The product's road."""
    from cmlcore.single_cell.stream import name_cells
    from cmlcore.slides import open_slide
    from models.device import set_threads

    model = classifier(backbone, weights)
    set_threads(0)
    with open_slide(slide) as reader:
        reader.read(0, Region(0, 0, 64, 64))
        start, work = time.perf_counter(), time.process_time()
        named = [c.answers.probs for c in name_cells(reader, 0, CellTable(run), model)]
        seconds, work = time.perf_counter() - start, time.process_time() - work
    return {"seconds": seconds, "cpu": work, "cells": sum(map(len, named)), "device": model.device}


def plain(slide: Path, run: Path, backbone: str, weights: str) -> dict[str, object]:
    """Cell by cell: read, resize, one image in float32, softmax."""
    import torch
    from PIL import Image

    from cmlcore.slides import open_slide

    model = classifier(backbone, weights)
    net = model.net.to(memory_format=torch.contiguous_format)
    half = 11.0 / MPP
    with open_slide(slide) as reader, torch.no_grad():
        rows = CellTable(run).arrow(("x_l0", "y_l0")).to_pylist()
        reader.read(0, Region(0, 0, 64, 64))
        start, work = time.perf_counter(), time.process_time()
        for cell in rows:
            square = Region(int(cell["x_l0"] - half), int(cell["y_l0"] - half), int(2 * half), int(2 * half))
            crop = Image.fromarray(reader.read(0, square)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            image = torch.from_numpy(np.array(crop)).permute(2, 0, 1)[None].float() / 255
            net(image).softmax(dim=1)
        seconds, work = time.perf_counter() - start, time.process_time() - work
    return {"seconds": seconds, "cpu": work, "cells": len(rows), "device": "CPU, float32"}


def speed(args: argparse.Namespace) -> None:
    """Time both on the same cells and print the table."""
    import segment

    from cmlcore.slides.czi_write import write_slide

    with tempfile.TemporaryDirectory() as folder:
        smear = segment.smear(args.data, args.mm2)
        slide, run = Path(folder) / "smear.czi", Path(folder) / "run"
        write_slide(slide, [((0, 0), smear)], mpp=Mpp(MPP, MPP))
        table(run, args.cells, smear.shape[0])
        rows = {n: alone(n, slide, run, args.backbone, str(args.weights or "")) for n in CONTESTANTS}
    print(f"\n{args.cells} cells, {args.backbone}, {os.cpu_count()} cores\n")
    for name, r in rows.items():
        print(
            f"{name:9} {r['seconds']:8.1f} s {r['cpu']:8.1f} s of CPU "
            f"{r['cells'] / r['seconds']:8.2f} cells/s "
            f"{r['peak_mb']:8.0f} MB   [{r['device']}]"
        )
    ratio = rows["plain"]["seconds"] / rows["streamed"]["seconds"]
    work = rows["plain"]["cpu"] / rows["streamed"]["cpu"]  # other load on the machine does not count here
    print(f"\nthe stream is {ratio:.2f} × as fast as the plain loop, and takes {work:.2f} × less of the CPU")


# -- memory ---------------------------------------------------------------------------------------------


def endless(_slide: Path, run: Path, cells: str, _weights: str) -> dict[str, object]:
    """Name so many cells of a slide that takes no memory, with a network that takes no time."""
    from segment import EndlessReader

    from cmlcore.single_cell.classify import Answers
    from cmlcore.single_cell.named import csv_stream, path_of, write_named
    from cmlcore.single_cell.stream import name_cells

    class Quick:
        side = 224

        class card:  # noqa: N801
            field_um = 22.0

        def classify(self, fields: np.ndarray) -> Answers:
            n = len(fields)
            return Answers(("a", "b"), np.full((n, 2), 0.5, np.float32), np.zeros(n, np.float32))

    side = 40_000
    cell_table = table(run, int(cells), side)
    path = path_of(run, "quick")
    chunks = name_cells(EndlessReader(side), 0, cell_table, Quick())  # type: ignore[arg-type]
    n = write_named(path, chunks, ("a", "b"), {})
    for _ in csv_stream(path):
        pass
    return {"cells": n}


def memory(_args: argparse.Namespace) -> None:
    """Print the peaks and their ratio."""
    rows = []
    for cells in ("2000", "10000"):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(alone("endless", Path("-"), Path(folder), cells, ""))
            print(f"{rows[-1]['cells']:8} cells {rows[-1]['peak_mb']:8.0f} MB")
    print(f"\n10,000 cells need {rows[1]['peak_mb'] / rows[0]['peak_mb']:.3f} × the memory of 2,000")


# -- a process of its own for each ----------------------------------------------------------------------

CONTESTANTS = {"streamed": streamed, "plain": plain}


def alone(name: str, slide: Path, run: Path, backbone: str, weights: str) -> dict:
    """Run one contestant in a fresh process and return what it says."""
    command = [sys.executable, __file__, "child", name, str(slide), str(run), backbone, weights]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(answer.splitlines()[-1])


def child(args: argparse.Namespace) -> None:
    """One contestant."""
    road = {**CONTESTANTS, "endless": endless}[args.name]
    result = road(Path(args.slide), Path(args.run), args.backbone, args.weights)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result | {"peak_mb": peak}))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("speed")
    one.add_argument("--cells", type=int, default=400)
    one.add_argument("--mm2", type=float, default=1.0)
    one.add_argument("--backbone", default="efficientnet_lite0")
    one.add_argument("--weights", type=Path)
    one.add_argument("--data", type=Path, default=Path(os.environ.get("CML_TEST_DATA", ".")) / "data")
    one.set_defaults(do=speed)
    commands.add_parser("memory").set_defaults(do=memory)
    inner = commands.add_parser("child")
    for name in ("name", "slide", "run", "backbone", "weights"):
        inner.add_argument(name)
    inner.set_defaults(do=child)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
