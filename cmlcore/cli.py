"""Every main job from the shell: ``cmlscope`` or ``python -m cmlcore``.

The commands only read arguments, show progress and write files; the work is done by the same functions
that the pages call. Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cmlcore import RESEARCH_USE, __version__
from cmlcore.errors import CmlError, InputError, StorageError
from cmlcore.geometry import Mpp

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from cmlcore.demo import Recall
    from cmlcore.jobs import Progress

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=f"Outline, name and count blood and marrow cells on whole-slide images. {RESEARCH_USE}",
)

Model = Annotated[str, typer.Option("--model", help="Key of a model: type1, type2 or a trained one.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON to this file too.")]


def main() -> None:
    """Run the command line; a user's error ends with one sentence and the exit code of its kind."""
    try:
        app(prog_name="cmlscope")
    except CmlError as e:
        print(e, file=sys.stderr)
        raise SystemExit(e.exit_code) from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"CMLscope {__version__}. {RESEARCH_USE}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it.")
    ] = False,
) -> None:
    """The options before a command."""


@app.command()
def info(file: Annotated[Path, typer.Argument(help="A slide.")]) -> None:
    """Print the facts of a slide as JSON; nothing that identifies a person is among them."""
    from cmlcore.slides import probe
    from cmlcore.slides.facts import info_to_json

    print(json.dumps(info_to_json(probe(file)), indent=2, ensure_ascii=False))


@app.command()
def segment(
    slide: Annotated[Path, typer.Argument(help="A slide.")],
    out: Annotated[Path, typer.Option(help="Folder for cells.csv, cells.geojson, manifest.json and parts/.")],
    model: Model = "type2",
    scene: Annotated[int, typer.Option(min=1, help="Number of the scene, from 1.")] = 1,
    roi: Annotated[
        list[str] | None,
        typer.Option(help="x,y,w,h or x1,y1 x2,y2 x3,y3 … in level-0 pixels; may be given several times."),
    ] = None,
    mpp: Annotated[float | None, typer.Option(help="µm per pixel, where the slide does not say it.")] = None,
    min_score: Annotated[float | None, typer.Option(min=0, max=1, help="Leave out cells below.")] = None,
    device: Device = "auto",
) -> None:
    """Outline and name the cells of a slide; goes on where a broken-off call for the same folder stopped."""
    manifest = _segment(
        slide,
        model,
        out,
        scene=scene - 1,
        rois=[_polygon(r) for r in roi] if roi else None,
        settings=None if min_score is None else {"min_score": min_score},
        mpp=None if mpp is None else Mpp(mpp, mpp),
        device=device,
    )
    _export(manifest, out)
    _print_counts(out)


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="PNG, JPEG, TIFF or BMP files.")],
    out: Annotated[Path, typer.Option(help="The JSON file to write: a list of COCO results.")],
    mpp: Annotated[str, typer.Option(help="µm per pixel of the images, or auto.")],
    model: Model = "type2",
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out cells below.")] = 0.01,
    device: Device = "auto",
) -> None:
    """Outline and name the cells of plain images."""
    scale = _pixel_size(mpp)
    from cmlcore.predict import predict_images

    with _bar() as bars:
        task = bars.add_task("Images", total=len(images))
        results = predict_images(
            images, model, scale, min_score, device, lambda done, _: bars.update(task, completed=done)
        )
    _write(out, [json.dumps(results, ensure_ascii=False).encode()])
    print(f"{len(results)} cells in {len(images)} images: {out}")


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder with one sub-folder a labelled set.")],
    model: Model = "type2",
    sets: Annotated[list[str] | None, typer.Option(help="A set; may be given several times.")] = None,
    split: Annotated[str, typer.Option(help="val or train.")] = "val",
    mpp: Annotated[str, typer.Option(help="known, or auto: estimated from the cells.")] = "known",
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many images a set.")] = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Judge a model on labelled images."""
    if mpp not in ("known", "auto"):
        raise InputError(f"“{mpp}” is no pixel size for labelled sets; choose known or auto.")
    scale: Literal["known", "auto"] = "auto" if mpp == "auto" else "known"
    from rich import print as show

    from cmlcore.evaluation import evaluate as judge

    with _bar() as bars:
        task = bars.add_task("Images", total=None)
        report = judge(
            model,
            data,
            sets,
            split,
            device,
            limit,
            scale,
            lambda done, total: bars.update(task, completed=done, total=total),
        )
    show(report.table())
    if json_file is not None:
        _write(json_file, [json.dumps(report.to_json(), indent=2).encode()])


@app.command(
    add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def train(context: typer.Context) -> None:
    """Train a network on labelled sets; train --help lists its options."""
    from cmlcore.training.__main__ import main as run

    run(context.args)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind; loopback only.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to bind.")] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Draw and add the demo slide if it is not there.")
    ] = False,
) -> None:
    """Start the server and print its address."""
    from cmlcore.launch import register_demo, start_server

    if demo:
        with _bar() as bars:
            task = bars.add_task("Drawing the demo slide", total=1.0, visible=False)
            register_demo(lambda share: bars.update(task, completed=share, visible=True))
    start_server(host, port)


@app.command("demo")
def demo_command(
    model: Annotated[
        str | None, typer.Option(help="Also segment it with this model and print what was found.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the slide and the results.")] = None,
    side: Annotated[int, typer.Option(min=512, max=16384, help="Width of its scenes in pixels.")] = 4096,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Draw the demo slide with its truth; with --model, say how many of its cells that model finds."""
    from cmlcore.demo import demo_path, demo_scenes, draw_demo

    slide = demo_path() if out is None else out / demo_path().name
    with _bar() as bars:
        task = bars.add_task("Drawing", total=1.0)
        draw_demo(slide, side, progress=lambda share: bars.update(task, completed=share))
    print(slide)
    if model is None:
        return
    report: dict[str, Any] = {"model": model, "side_px": side, "scenes": []}
    for scene in range(len(demo_scenes(side))):
        rows = _demo_recall(slide, scene, model, slide.parent / f"{model}-scene{scene + 1}", device)
        for row in rows:
            print(
                f"scene {scene + 1}  {row.cls:<12} found {row.found:>5} of {row.drawn:>5}  {row.share:7.1%}"
            )
        report["scenes"].append({r.cls: {"drawn": r.drawn, "found": r.found} for r in rows})
    if json_file is not None:
        _write(json_file, [json.dumps(report, indent=2).encode()])


def _demo_recall(slide: Path, scene: int, model: str, out: Path, device: str) -> list[Recall]:
    import numpy as np

    from cmlcore.cells import CellTable
    from cmlcore.demo import read_truth, recall, truth_path

    _segment(slide, model, out, scene=scene, device=device)
    outlines, classes = [], []
    for batch in CellTable(out).batches(["outline_l0", "cls"]):
        outlines += [np.asarray(o, np.float32).reshape(-1, 2) for o in batch["outline_l0"].to_pylist()]
        classes += batch["cls"].to_pylist()
    return recall(read_truth(truth_path(slide, scene)), outlines, classes)


def _segment(slide: Path, model: str, out: Path, *, scene: int, **options: Any) -> dict[str, Any]:
    """``segment_local`` with a progress bar."""
    from cmlcore.jobs import segment_local

    with _bar() as bars:
        task = bars.add_task("Starting", total=1.0)

        def tell(p: Progress) -> None:
            bars.update(task, completed=p.fraction, description=f"{p.stage_label}: {p.cells} cells")

        return segment_local(slide, model, out, scene=scene, progress=tell, **options)


def _export(manifest: dict[str, Any], out: Path) -> None:
    """The downloads of the results page, byte for byte."""
    from cmlcore.cells import CellTable
    from cmlcore.report import csv_stream, geojson_stream

    table = CellTable(out)
    _write(out / "cells.csv", csv_stream(manifest, table))
    _write(out / "cells.geojson", geojson_stream(manifest, table))


def _print_counts(out: Path) -> None:
    from cmlcore.cells import CellTable
    from cmlcore.classes import label

    for row in CellTable(out).counts():
        print(f"{label(row.cls):<20} {row.count:>8} {row.percent:>6.1f} %")
    print(f"{out / 'cells.csv'}\n{RESEARCH_USE}")


def _polygon(text: str) -> list[list[float]]:
    """A region from ``x,y,w,h`` or ``x1,y1 x2,y2 x3,y3 …``."""
    try:
        points = [[float(v) for v in part.split(",")] for part in text.split()]
    except ValueError:
        points = []
    if len(points) == 1 and len(points[0]) == 4 and min(points[0][2:]) > 0:
        x, y, w, h = points[0]
        return [[x, y], [x + w, y], [x + w, y + h], [x, y + h]]
    if len(points) >= 3 and all(len(p) == 2 for p in points):
        return points
    raise InputError(f"“{text}” is no region; give x,y,w,h or at least three corners as x,y x,y x,y.")


def _pixel_size(text: str) -> float | Literal["auto"]:
    """A number of µm per pixel, or "auto"."""
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"“{text}” is no pixel size; give µm per pixel, such as 0.1, or auto.") from None
    return Mpp(value, value).x


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError: the disk is full or the folder cannot be written.

    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as f:
            f.writelines(chunks)
        part.replace(path)
    except OSError as e:
        part.unlink(missing_ok=True)
        why = "the disk is full" if e.errno == errno.ENOSPC else "it is not a place where you may write"
        raise StorageError(f"{path} cannot be written: {why}. Choose another with --out.") from e


@contextmanager
def _bar() -> Iterator[Bars]:
    """Progress bars on stderr, so that stdout holds results only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield bars
