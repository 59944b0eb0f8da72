"""How fast, and in how much memory, is a smear segmented?

    python benchmarks/segment.py speed --model type2 --data DATA     against the loop a user would write
    python benchmarks/segment.py memory                              at 10 k, 100 k and 500 k cells

``speed`` builds a smear from the real images in DATA (folders ``bbbc041seg`` and ``txl_pbc``), writes it as a
mosaic CZI, and segments it twice with the same weights on the CPU, each in a process of its own: by the
engine, and by a plain loop (read a tile, resize, predict in float32, collect polygons, drop duplicates).
``memory`` sends more and more cells through the engine, the Parquet parts and every export.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from numpy.typing import NDArray

from cmlcore.cells import CellTable, merge_parts, write_part
from cmlcore.geometry import Mpp, Region, Size
from cmlcore.report import csv_stream, geojson_stream, overlay_centres, overlay_index, overlay_tile, summary
from cmlcore.segmentation import SegmentSettings, plan_run, segment_blocks
from cmlcore.slides.base import Scene, SlideInfo, SlideReader
from models.base import Instances, TileGrid

MPP = 0.22
PLAIN_TILE, PLAIN_STEP = 512, 384  # a quarter of the tile overlaps, as tutorials have it


# -- the smear ------------------------------------------------------------------------------------------


def smear(data: Path, mm2: float) -> NDArray[np.uint8]:
    """A square smear of real fields, each turned at random and laid beside the others; no empty glass."""
    from cmlcore.ground_truth import records

    fields = records(data, "val", ("bbbc041seg", "txl_pbc"))
    rng = np.random.default_rng(0)
    side = round(math.sqrt(mm2) * 1000 / MPP)
    out = np.empty((side, side, 3), dtype=np.uint8)
    y = 0
    while y < side:
        x, height = 0, 240  # pixels; every field is at least this high once resampled
        while x < side:
            field = fields[rng.integers(len(fields))]
            scale = field.mpp / MPP
            image = cv2.resize(
                cv2.imread(str(field.image)), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
            )
            image = np.rot90(image, 2 * rng.integers(2))[:, :: 1 - 2 * rng.integers(2), ::-1][:height]
            height = min(height, image.shape[0])
            w = min(image.shape[1], side - x)
            rows = min(image.shape[0], side - y)
            out[y : y + rows, x : x + w] = image[:rows, :w]
            x += w
        y += height
    return out


# -- the two contestants --------------------------------------------------------------------------------


def engine(slide: Path, key: str, out: Path) -> dict[str, object]:
    """The product's road, from the closed file to the last part."""
    from cmlcore.slides import open_slide
    from models.registry import load_model

    model = load_model(key, "cpu")
    with open_slide(slide) as reader:
        wish = SegmentSettings()
        start = time.perf_counter()
        plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, wish)
        stages: Counter[str] = Counter(plan=time.perf_counter() - start)
        cells = 0
        for result in segment_blocks(reader, plan, plan.blocks, model, wish):
            began = time.perf_counter()
            write_part(out, result.index, result.table)
            stages.update(result.times)
            stages["write"] += time.perf_counter() - began
            cells += result.table.num_rows
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "cells": cells, "stages": dict(stages), "device": model.device}


def plain(slide: Path, key: str, _out: Path) -> dict[str, object]:
    """Tile by tile in float32, polygons in a list, duplicates of the overlaps dropped at the end."""
    import shapely
    import torch

    from cmlcore.slides import open_slide
    from models import type1, type2
    from models.registry import card

    with patch("models.device.half_type", return_value=None), open_slide(slide, isolated=False) as reader:
        made = card(key)
        model = type1.load(made, "cpu") if made.kind == "type1" else type2.load(made, "cpu", engine="torch")
        net = model._net if isinstance(model, type1.Type1) else model.maps.net
        net.to(memory_format=torch.contiguous_format)
        mpp = reader.info.mpp
        assert mpp is not None
        size = reader.info.scenes[0].size
        ratio = model.mpp / mpp.x
        start = time.perf_counter()
        stages: Counter[str] = Counter()
        shapes, scores = [], []
        step, side = PLAIN_STEP * ratio, round(PLAIN_TILE * ratio)
        for y in np.arange(0, size.h, step):
            for x in np.arange(0, size.w, step):
                began = time.perf_counter()
                tile = reader.read(0, Region(int(x), int(y), side, side))
                tile = cv2.resize(tile, (PLAIN_TILE, PLAIN_TILE))
                read = time.perf_counter()
                (found,) = model.predict(tile.transpose(2, 0, 1)[None].copy(), 0.3)
                done = time.perf_counter()
                shapes += [
                    shapely.make_valid(shapely.Polygon(o * ratio + (int(x), int(y)))) for o in found.outlines
                ]
                scores += found.scores.tolist()
                stages.update(read=read - began, network=done - read, polygons=time.perf_counter() - done)
        began = time.perf_counter()
        tree, gone = shapely.STRtree(shapes), set()
        for i in np.argsort(scores)[::-1].tolist():
            if i in gone:
                continue
            for j in tree.query(shapes[i], predicate="intersects").tolist():
                overlap = shapes[i].intersection(shapes[j]).area
                if j != i and overlap > 0.5 * min(shapes[i].area, shapes[j].area):
                    gone.add(j)
        stages["stitch"] = time.perf_counter() - began
        return {
            "seconds": time.perf_counter() - start,
            "cells": len(shapes) - len(gone),
            "stages": dict(stages),
            "device": "CPU, float32",
        }


def speed(args: argparse.Namespace) -> None:
    """Time both on the same slide and print the table."""
    from cmlcore.slides.czi_write import write_slide

    with tempfile.TemporaryDirectory() as folder:
        slide = Path(folder) / "smear.czi"
        write_slide(slide, [((0, 0), smear(args.data, args.mm2))], mpp=Mpp(MPP, MPP))
        rows = {name: alone(name, str(slide), args.model, folder) for name in ("engine", "plain")}
    print(f"\n{args.mm2:g} mm² of real fields at {MPP} µm per pixel, {args.model}, {os.cpu_count()} cores\n")
    print(f"{'':8} {'s':>8} {'mm²/s':>8} {'cells':>8} {'cells/s':>8} {'peak MB':>8}  share of time")
    for name, r in rows.items():
        busy = sum(r["stages"].values())
        share = ", ".join(
            f"{k} {100 * v / busy:.0f} %" for k, v in sorted(r["stages"].items(), key=lambda s: -s[1])
        )
        print(
            f"{name:8} {r['seconds']:8.1f} {args.mm2 / r['seconds']:8.4f} {r['cells']:8} "
            f"{r['cells'] / r['seconds']:8.1f} {r['peak_mb']:8.0f}  {share}   [{r['device']}]"
        )
    print(
        f"\nengine is {rows['plain']['seconds'] / rows['engine']['seconds']:.2f} × as fast as the plain loop"
    )


# -- memory ---------------------------------------------------------------------------------------------


class EndlessReader(SlideReader):
    """A slide of any size that takes no memory: the same noise everywhere."""

    def __init__(self, side: int) -> None:
        self.noise = np.random.default_rng(0).integers(0, 255, (2048, 2048, 3), dtype=np.uint8)
        self.info = SlideInfo(
            "test", (Scene(0, Size(side, side)),), 1, Mpp(0.2, 0.2), None, "brightfield", 3, 8, ""
        )

    def read(self, scene: int, region_l0: Region, downsample: int = 1) -> NDArray[np.uint8]:  # noqa: ARG002
        """The same pixels wherever they are asked for."""
        return self.noise[: -(-region_l0.h // downsample), : -(-region_l0.w // downsample)].copy()

    def covered(self, scene: int) -> list[Region]:
        """All of it."""
        return [Region(0, 0, self.info.scenes[scene].size.w, self.info.scenes[scene].size.h)]

    def close(self) -> None:
        """Nothing is open."""


class Replay:
    """Gives the same 256 cells for every tile, 80 pixels wide, 48 vertices each."""

    key, classes, mpp, tail, sha256 = "replay", ("erythrocyte", "leukocyte"), 0.2, 0.0, "0" * 64
    device, card = "CPU", {}
    grid = TileGrid(1536, 128, 256)

    def __init__(self) -> None:
        place = (np.arange(16) * 80 + 128 + 40).astype(np.float32)
        centres = np.stack(np.meshgrid(place, place), axis=-1).reshape(-1, 2)
        turn = np.arange(48) * 2 * np.pi / 48
        ring = 36 * np.stack([np.cos(turn), np.sin(turn)], axis=1).astype(np.float32)
        n = len(centres)
        probs = np.tile(np.array([[0.8, 0.2]], np.float32), (n, 1))
        self.found = Instances(
            [c + ring for c in centres], np.zeros(n, np.int64), np.full(n, 0.8, np.float32), probs, centres
        )

    def predict(self, batch: NDArray[np.uint8], min_score: float = 0.0) -> list[Instances]:  # noqa: ARG002
        """The same cells for every tile."""
        return [self.found] * len(batch)


def replay(cells: str, _key: str, out: Path) -> dict[str, object]:
    """Send cells through engine, parts, merge, questions and exports; say the peak after each."""
    model, peaks = Replay(), {}
    blocks = math.ceil(int(cells) / len(model.found))
    reader, wish = (
        EndlessReader(math.ceil(math.sqrt(blocks)) * model.grid.core),
        SegmentSettings(skip_empty=False),
    )
    plan = plan_run(reader, 0, None, reader.info.mpp, model.mpp, model.grid, wish)
    n = 0
    for result in segment_blocks(reader, plan, plan.blocks[:blocks], model, wish):
        write_part(out, result.index, result.table)
        n += result.table.num_rows
    peaks["engine"] = peak_mb()
    merge_parts(out)
    peaks["merge"] = peak_mb()
    table = CellTable(out)
    summary(table, plan.area_mm2)
    table.histogram("area_um2")
    peaks["questions"] = peak_mb()
    written = {"csv": csv_stream({}, table), "geojson": geojson_stream({}, table)}
    for name, chunks in written.items():
        with (out / name).open("wb") as file:
            file.writelines(chunks)
        peaks[name] = peak_mb()
    for gx, gy, *_ in overlay_index(table)["tiles"][:50]:
        overlay_tile(table, gx, gy)
    overlay_centres(table)
    peaks["overlay"] = peak_mb()
    return {"cells": n, "peaks": peaks}


def memory(_args: argparse.Namespace) -> None:
    """Print the peaks at each size and the ratio of the largest to the smallest."""
    rows = []
    for cells in (10_000, 100_000, 500_000):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(alone("replay", str(cells), "-", folder))
    names = list(rows[0]["peaks"])
    print("\npeak resident memory so far, MB, after each step\n")
    print(f"{'cells':>8} " + " ".join(f"{n:>10}" for n in names))
    for r in rows:
        print(f"{r['cells']:8} " + " ".join(f"{r['peaks'][n]:10.0f}" for n in names))
    print(f"\n500 k cells need {rows[-1]['peak_mb'] / rows[0]['peak_mb']:.3f} × the memory of 10 k")


# -- a process of its own for each ----------------------------------------------------------------------


def peak_mb() -> float:
    """Peak resident memory of this process, its decoding children included."""
    own, children = (
        resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return (own + children) / 1024


def alone(name: str, what: str, key: str, folder: str) -> dict:
    """Run one contestant in a fresh process and return what it says."""
    command = [sys.executable, __file__, "child", name, what, key, folder]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(answer.splitlines()[-1])


CHILDREN: dict[str, Callable[[str, str, Path], dict[str, object]]] = {
    "engine": lambda what, key, out: engine(Path(what), key, out),
    "plain": lambda what, key, out: plain(Path(what), key, out),
    "replay": replay,
}


def child(args: argparse.Namespace) -> None:
    """One contestant."""
    result = CHILDREN[args.name](args.what, args.key, Path(args.folder))
    print(json.dumps(result | {"peak_mb": peak_mb()}))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("speed")
    one.add_argument("--model", default="type2")
    one.add_argument("--mm2", type=float, default=2.0)
    one.add_argument("--data", type=Path, default=Path(os.environ.get("CML_TEST_DATA", ".")) / "data")
    one.set_defaults(do=speed)
    commands.add_parser("memory").set_defaults(do=memory)
    inner = commands.add_parser("child")
    for name in ("name", "what", "key", "folder"):
        inner.add_argument(name)
    inner.set_defaults(do=child)
    args = parser.parse_args()
    args.do(args)


if __name__ == "__main__":
    main()
