"""Every main job from the shell: ``cmlscope`` or ``python -m cmlcore``.

The commands only read arguments, show progress and write files; the work is done by the same functions
that the pages call. Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cmlcore import RESEARCH_USE, __version__
from cmlcore.cli import classify, data, evaluate, paper, predict, segment, serve, train
from cmlcore.errors import CmlError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=f"Outline, name and count blood and marrow cells on whole-slide images. {RESEARCH_USE}",
)
for part in (segment, predict, train, evaluate, classify, data, paper, serve):
    part.register(app)


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
