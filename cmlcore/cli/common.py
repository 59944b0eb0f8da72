"""What the commands share: options, progress bars, files written whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmlcore.errors import StorageError
from cmlcore.files import NO_SPACE, whole_file

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

Model = Annotated[str, typer.Option("--model", help="Key of a model: type1, type2 or a trained one.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON to this file too.")]


def write(path: Path, chunks: Iterable[bytes]) -> None:
    """Write a file whole or not at all.

    Raises:
        StorageError: the disk is full or the folder cannot be written.

    """
    try:
        with whole_file(path) as part, part.open("wb") as f:
            f.writelines(chunks)
    except OSError as e:
        why = "the disk is full" if e.errno in NO_SPACE else "it is not a place where you may write"
        raise StorageError(f"{path} cannot be written: {why}. Choose another with --out.") from e


@contextmanager
def bar() -> Iterator[Bars]:
    """Progress bars on stderr, so that stdout holds results only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield bars
