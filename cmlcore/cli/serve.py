"""The server, and the slide that it starts with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cmlcore.cli.common import Device, Json, bar, write
from cmlcore.cli.segment import segmented

if TYPE_CHECKING:
    from cmlcore.demo import Recall


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(serve)
    app.command()(demo)


def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind; loopback only.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port to bind.")] = None,
    with_demo: Annotated[
        bool, typer.Option("--demo", help="Draw and add the demo slide if it is not there.")
    ] = False,
) -> None:
    """Start the server and print its address."""
    from cmlcore.launch import register_demo, start_server

    if with_demo:
        with bar() as bars:
            task = bars.add_task("Drawing the demo slide", total=1.0, visible=False)
            register_demo(lambda share: bars.update(task, completed=share, visible=True))
    start_server(host, port)


def demo(
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
    with bar() as bars:
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
        write(json_file, [json.dumps(report, indent=2).encode()])


def _demo_recall(slide: Path, scene: int, model: str, out: Path, device: str) -> list[Recall]:
    import numpy as np

    from cmlcore.cells import CellTable
    from cmlcore.demo import read_truth, recall, truth_path

    segmented(slide, model, out, scene=scene, device=device)
    outlines, classes = [], []
    for batch in CellTable(out).batches(["outline_l0", "cls"]):
        outlines += [np.asarray(o, np.float32).reshape(-1, 2) for o in batch["outline_l0"].to_pylist()]
        classes += batch["cls"].to_pylist()
    return recall(read_truth(truth_path(slide, scene)), outlines, classes)
