"""Networks of one's own."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
    )(train)


def train(context: typer.Context) -> None:
    """Train a network on labelled sets; train --help lists its options."""
    from cmlcore.training.__main__ import main as run

    run(context.args)
