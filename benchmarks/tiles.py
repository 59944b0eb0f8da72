"""Tile latency without HTTP, by format, cold and warm, against OpenSlide's DeepZoomGenerator on one picture.

    python benchmarks/tiles.py [--width 8192] [--height 6144] [--visits 150]

One picture, made of real smear images where CML_TEST_DATA names some and drawn where it does not, is written
in each format; threads ask a TileStore for the tiles that a person browsing would: zooming in from the
overview, then panning, again and again. Cold: the slide is open, nothing of it in any cache of ours. Warm:
the same tiles asked again in another order. Reopened: likewise, memory empty, disk cache full. The peer gets
the same tiles of the same picture from a pyramidal TIFF and packs them with Pillow, as its own example server
does; it keeps decoded parts, not packed tiles: its warm times still decode and pack, and reopened is cold.
The last column is the peer's p95 over ours, cold and warm. ``http_tiles.py`` goes through the server.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image

from cmlcore.geometry import Mpp, Size
from cmlcore.slides import TILE, TileStore, prepare, probe
from cmlcore.slides.czi_write import write_slide
from cmlcore.slides.jpeg_tiff import grid, level_sizes
from cmlcore.slides.pixels import mean_down

IN_FLIGHT = (6, 50)
TARGET_MS = 10.0
PEER_FILE = "Tiled TIFF (JPEG 256)"
FLAT_CZI, FLAT_PNG = "CZI JPEG-XR, flat", "PNG picture"
PREPARED = {FLAT_CZI: (False, True), FLAT_PNG: (True,)}  # as they are, and converted beforehand
COLUMNS = ("cold", "reopened", "warm", "p95 peer/ours")
TilePlace = tuple[int, int, int]  # level, column, row
Ask = Callable[[TilePlace], bytes]


def picture(width: int, height: int) -> NDArray[np.uint8]:
    """Real smear images side by side, mirrored at random; drawn discs where there are none."""
    rng = np.random.default_rng(0)
    root = Path(os.environ.get("CML_TEST_DATA", "/nonexistent"), "data")
    found = sorted(p for p in root.glob("txl_pbc/**/*") if p.suffix.lower() in {".jpg", ".png"})[:60]
    parts = [np.asarray(Image.open(p).convert("RGB")) for p in found] or [_drawn(rng) for _ in range(12)]
    out = np.full((height, width, 3), 240, np.uint8)
    step_y, step_x = (min(p.shape[k] for p in parts) for k in (0, 1))
    for y in range(0, height, step_y):
        for x in range(0, width, step_x):
            part = parts[rng.integers(len(parts))][:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
            here = out[y : y + step_y, x : x + step_x]
            here[:] = part[: here.shape[0], : here.shape[1]]
    return out


def _drawn(rng: np.random.Generator) -> NDArray[np.uint8]:
    part = rng.normal((236, 228, 232), 4, (512, 512, 3))
    yy, xx = np.mgrid[:512, :512]
    for cy, cx, r in rng.integers((0, 0, 12), (512, 512, 24), (60, 3)):
        part[(yy - cy) ** 2 + (xx - cx) ** 2 < r * r] += rng.normal((-40, -90, -70), 10)
    clipped: NDArray[np.uint8] = np.clip(part, 0, 255).astype(np.uint8)
    return clipped


def write_files(folder: Path, image: NDArray[np.uint8]) -> dict[str, Path]:
    """The picture in each format, by name."""
    mpp = Mpp(0.2, 0.2)
    files = {name: folder / f"{k}.slide" for k, name in enumerate(("CZI zstd", "CZI JPEG-XR", FLAT_CZI))}
    for name, path in files.items():
        packing, quality = ("zstd1", None) if "zstd" in name else ("jpegxr", 0.85)
        flat = name == FLAT_CZI
        write_slide(
            path,
            [((5000, 900), image)],
            mpp=mpp,
            tile=2048,
            pyramid=not flat,
            compression=packing,
            quality=quality,
        )
    files[PEER_FILE] = folder / "peer.tif"
    options = {
        "tile": (256, 256),
        "compression": "jpeg",
        "compressionargs": {"level": 85},
        "photometric": "ycbcr",
    }
    with tifffile.TiffWriter(files[PEER_FILE], bigtiff=True) as writer:
        level = image
        for k in range(len(level_sizes(Size(image.shape[1], image.shape[0])))):
            level = level if k == 0 else mean_down(level, 2)
            writer.write(level, subfiletype=int(k > 0), **options)
    files[FLAT_PNG] = folder / "flat.png"
    Image.fromarray(image).save(files[FLAT_PNG], compress_level=1)
    return files


def browse(size: Size, visits: int) -> list[TilePlace]:
    """Distinct tiles in the order a person would ask for them: down from the overview, then sideways."""
    rng, levels = random.Random(1), level_sizes(size)
    seen: dict[TilePlace, None] = {}
    for _ in range(visits):
        x, y = rng.random(), rng.random()
        for k in range(len(levels) - 1, -1, -1):
            g = grid(levels[k])
            col, row = int(x * g.w), int(y * g.h)
            near = [(c, r) for c in (col, col + 1) for r in (row, row + 1) if c < g.w and r < g.h]
            seen |= {(k, c, r): None for c, r in near}
        seen |= {
            (0, c, int(y * grid(size).h)): None
            for c in range(int(x * grid(size).w), min(int(x * grid(size).w) + 6, grid(size).w))
        }
    return list(seen)


def timed(ask: Ask, places: list[TilePlace], in_flight: int) -> NDArray[np.float64]:
    """Milliseconds of each answer, with so many requests under way at once."""

    def one(place: TilePlace) -> float:
        start = time.perf_counter()
        ask(place)
        return 1000 * (time.perf_counter() - start)

    with ThreadPoolExecutor(in_flight) as pool:
        return np.array(list(pool.map(one, places)))


def shuffled(places: list[TilePlace]) -> list[TilePlace]:
    """The same tiles in another order."""
    return random.Random(2).sample(places, len(places))


@dataclass(frozen=True)
class Times:
    """Milliseconds: to the first tile of a slide just opened, then of each answer."""

    opening: float
    cold: NDArray[np.float64]
    reopened: NDArray[np.float64]
    warm: NDArray[np.float64]


def ours(path: Path, prepared: bool, places: list[TilePlace], in_flight: int) -> Times:
    """Times of a TileStore."""
    info = probe(path)
    with tempfile.TemporaryDirectory() as folder:
        if prepared:
            prepare(path, Path(folder))
        store = TileStore(path, info, Path(folder))
        opening = timed(lambda p: store.tile(0, *p), places[:1], 1)
        cold = timed(lambda p: store.tile(0, *p), places[1:], in_flight)
        warm = timed(lambda p: store.tile(0, *p), shuffled(places), in_flight)
        store.close()
        again = TileStore(path, info, Path(folder))
        reopened = timed(lambda p: again.tile(0, *p), shuffled(places), in_flight)
        again.close()
        return Times(float(opening[0]), cold, reopened, warm)


def peer(path: Path, places: list[TilePlace], in_flight: int) -> Times:
    """Times of DeepZoomGenerator with Pillow's JPEG, tiles of the same size; it caches decoded tiles only."""
    start = time.perf_counter()
    with openslide.OpenSlide(str(path)) as slide:
        zoom = DeepZoomGenerator(slide, tile_size=TILE, overlap=0)

        def ask(place: TilePlace) -> bytes:
            buffer = io.BytesIO()
            level, col, row = place
            zoom.get_tile(zoom.level_count - 1 - level, (col, row)).save(buffer, "JPEG", quality=85)
            return buffer.getvalue()

        ask(places[0])
        opening = 1000 * (time.perf_counter() - start)
        cold, warm = timed(ask, places[1:], in_flight), timed(ask, shuffled(places), in_flight)
    return Times(opening, cold, cold, warm)


def main() -> None:
    """Write the files, ask, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--height", type=int, default=6144)
    parser.add_argument("--visits", type=int, default=40, help="places zoomed into")
    args = parser.parse_args()
    size = Size(args.width, args.height)
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder), picture(size.w, size.h))
        places = browse(size, args.visits)
        print(f"{size.w} × {size.h} pixels, {len(places)} tiles, {os.cpu_count()} cores; ms as p50 / p95")
        print(f"{'':31}{'in flight':>10}{'open':>8}" + "".join(f"{c:>22}" for c in COLUMNS))
        worst = 0.0
        for in_flight in IN_FLIGHT:
            theirs = peer(files[PEER_FILE], places, in_flight)
            _row("DeepZoomGenerator, tiled TIFF", in_flight, theirs, theirs)
            for name, path in files.items():
                for prepared in PREPARED.get(name, (False,)):
                    times = ours(path, prepared, places, in_flight)
                    _row(name + ", prepared" * prepared, in_flight, times, theirs)
                    if in_flight == IN_FLIGHT[0]:
                        worst = max(worst, float(np.percentile(times.warm, 95)))
        verdict = "met" if worst <= TARGET_MS else "missed"
        print(
            f"Warm p95 at most {TARGET_MS:g} ms at {IN_FLIGHT[0]} in flight: {verdict}, worst {worst:.2f} ms."
        )


def _row(name: str, in_flight: int, times: Times, theirs: Times) -> None:
    spans = (times.cold, times.reopened, times.warm)
    shown = (f"{np.percentile(t, 50):.2f} / {np.percentile(t, 95):.2f}" for t in spans)
    pairs = ((theirs.cold, times.cold), (theirs.warm, times.warm))
    ratios = (f"{np.percentile(a, 95) / np.percentile(b, 95):.2g}" for a, b in pairs)
    print(
        f"{name:31}{in_flight:>10}{times.opening:>8.0f}"
        + "".join(f"{c:>22}" for c in (*shown, " and ".join(ratios)))
    )


if __name__ == "__main__":
    main()
