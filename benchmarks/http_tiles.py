"""Tile latency over HTTP, by format, cold and warm, against OpenSlide's DeepZoomGenerator on one picture.

    python benchmarks/http_tiles.py [--side 8192] [--tiles 300]

One picture is written as CZI (zstd), as tiled JPEG TIFF and as PNG; each is asked for the same random tiles
through our routes in a server process, with 6 and with 50 requests in flight. Cold: the server has not seen
the slide; warm: the same requests again. The peer is a DeepZoomGenerator behind the same web server, reading
the same TIFF. PNG is prepared beforehand, as the job service does. The client runs on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

IN_FLIGHT = (6, 50)
TILE = 512
TARGET_MS = 10.0


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one pass."""

    p50: float
    p95: float
    per_s: float


def main() -> None:
    args = _arguments()
    if args.serve:
        _serve(Path(args.serve), args.port)
        return
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["CML_HOME"] = folder
        files = write_slides(home, args.side)
        slides = {name: register(path, name) for name, path in files.items()}
        wanted = tile_numbers(args.side, args.tiles)
        rows: dict[tuple[str, int], tuple[Latency, Latency]] = {}
        for in_flight in IN_FLIGHT:
            for name, slide in slides.items():
                urls = [f"/tiles/{slide}/0/{lv}/{c}_{r}.jpeg" for lv, c, r in wanted]
                rows[name, in_flight] = measured(home, urls, in_flight)
            urls = [f"/deepzoom/{lv}/{c}_{r}.jpeg" for lv, c, r in wanted]
            rows["DeepZoomGenerator (TIFF)", in_flight] = measured(home, urls, in_flight)
    show(rows, args)


def write_slides(home: Path, side: int) -> dict[str, Path]:
    """The same picture in three formats."""
    from cmlcore.demo.czi import write_czi
    from cmlcore.demo.smear import WARM, Smear, draw_smear
    from cmlcore.geometry import Size
    from cmlcore.slides import prepare
    from cmlcore.slides.convert import scene_file

    smear = Smear(Size(1024, 1024), WARM, {"neutrophil": 3, "lymphocyte": 2}, leukocytes_per_mm2=300)
    picture = np.tile(draw_smear(smear, seed=1)[0], (-(-side // 1024), -(-side // 1024), 1))[:side, :side]
    czi = home / "picture.czi"
    write_czi(czi, [picture], [(0, 0)], smear.mpp, 20)
    prepare(czi, home / "converted")
    tiff = scene_file(home / "converted", 0).rename(home / "picture.tiff")
    from PIL import Image

    Image.fromarray(picture).save(home / "picture.png", compress_level=1)
    return {"CZI zstd": czi, "JPEG TIFF": tiff, "PNG (prepared)": home / "picture.png"}


def register(path: Path, name: str) -> str:
    """A row as the job service leaves it."""
    from cmlcore import store
    from cmlcore.slides import needs_preparing, prepare, probe
    from cmlcore.slides.facts import info_to_json

    store.ensure_schema()
    row = store.add_slide(path, size_bytes=path.stat().st_size, imported_in_place=True, name=name)
    info = probe(path)
    if name.startswith("PNG") and needs_preparing(info, store.tile_cache(row.id)):
        prepare(path, store.tile_cache(row.id))
    store.update_slide(row.id, facts=info_to_json(info), status="ready")
    return row.id


def tile_numbers(side: int, count: int) -> list[tuple[int, int, int]]:
    """Random tiles of the three finest levels, three quarters of them at the finest."""
    rng = random.Random(5)
    found = []
    for _ in range(count):
        level = rng.choice((0, 0, 0, 1, 1, 2)) if side >= 4 * TILE else 0
        across = -(-side // (TILE << level))
        found.append((level, rng.randrange(across), rng.randrange(across)))
    return found


def measured(home: Path, urls: list[str], in_flight: int) -> tuple[Latency, Latency]:
    """A fresh server: the cold pass, then the same requests warm."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, __file__, "--serve", str(home), "--port", str(port)]
    with subprocess.Popen(command) as server:
        try:
            _wait(port)
            return asyncio.run(fetch(port, urls, in_flight)), asyncio.run(fetch(port, urls, in_flight))
        finally:
            server.terminate()


def _wait(port: int) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


async def fetch(port: int, urls: list[str], in_flight: int) -> Latency:
    """Ask for all of them, so many at a time, over connections that stay open as a browser's do."""
    waiting = iter(urls)
    times: list[float] = []

    async def one_connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for url in waiting:
            begin = time.perf_counter()
            writer.write(f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            if " 200 " not in head.splitlines()[0]:
                raise SystemExit(f"{url}: {head.splitlines()[0]}")
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            await reader.readexactly(length)
            times.append(1000 * (time.perf_counter() - begin))
        writer.close()

    begin = time.perf_counter()
    await asyncio.gather(*(one_connection() for _ in range(in_flight)))
    spent = time.perf_counter() - begin
    p50, p95 = np.percentile(times, (50, 95))
    return Latency(float(p50), float(p95), len(times) / spent)


def _serve(home: Path, port: int) -> None:
    """Our routes, and the peer's beside them."""
    os.environ["CML_HOME"] = str(home)
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    from cmlcore.web import middleware, routes

    async def ready(_: object) -> Response:
        return Response("ready")

    extra = [Route("/ready", ready), Route("/deepzoom/{level:int}/{col:int}_{row:int}.jpeg", _peer(home))]
    app = Starlette(routes=[*extra, *routes()], middleware=middleware())
    sys.setswitchinterval(0.0005)
    uvicorn.run(app, port=port, log_level="error")


def _peer(home: Path) -> Callable[..., object]:
    """DeepZoomGenerator as its own examples use it: decode, encode as JPEG 85; as many threads as cores."""
    import openslide
    from anyio import CapacityLimiter, to_thread
    from openslide.deepzoom import DeepZoomGenerator
    from starlette.requests import Request
    from starlette.responses import Response

    zoom = DeepZoomGenerator(openslide.OpenSlide(home / "picture.tiff"), tile_size=TILE - 2, overlap=1)
    limiter = CapacityLimiter(max(4, os.cpu_count() or 1))

    def read(level: int, col: int, row: int) -> bytes:
        out = io.BytesIO()
        zoom.get_tile(zoom.level_count - 1 - level, (col, row)).save(out, "jpeg", quality=85)
        return out.getvalue()

    async def tile(request: Request) -> Response:
        p = request.path_params
        body = await to_thread.run_sync(read, p["level"], p["col"], p["row"], limiter=limiter)
        return Response(body, media_type="image/jpeg")

    return tile


def show(rows: dict[tuple[str, int], tuple[Latency, Latency]], args: argparse.Namespace) -> None:
    print(f"{args.side} × {args.side} px, {args.tiles} tiles of {TILE} px, {os.cpu_count()} cores\n")
    print(f"{'':26}{'in flight':>10}{'cold p50':>10}{'p95 ms':>8}{'warm p50':>10}{'p95 ms':>8}{'tiles/s':>9}")
    for (name, in_flight), (cold, warm) in rows.items():
        print(
            f"{name:26}{in_flight:>10}{cold.p50:>10.1f}{cold.p95:>8.1f}{warm.p50:>10.1f}{warm.p95:>8.1f}"
            f"{warm.per_s:>9.0f}"
        )
    ours = max(warm.p95 for (name, n), (_, warm) in rows.items() if n == 6 and "Zoom" not in name)
    peer = rows["DeepZoomGenerator (TIFF)", 6][1].p95
    met = "met" if ours <= TARGET_MS else "MISSED"
    print(f"\nwarm p95 at 6 in flight: {ours:.1f} ms (target {TARGET_MS:.0f} ms: {met}), ", end="")
    print(f"{peer / ours:.1f}× faster than DeepZoomGenerator")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--tiles", type=int, default=300)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
