"""``python -m cmlcore.training.child FOLDER``: the training of a folder in a process of its own."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

from cmlcore.errors import CmlError
from cmlcore.training import run_dir


def main() -> None:
    """Train; SIGTERM and SIGINT end it as the stop file does. Exits with the code of the error's kind."""
    folder = Path(sys.argv[1])
    asked = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        settings = run_dir.read_settings(folder)
        from cmlcore.training.fitting import fit

        fit(settings, folder, cancelled=lambda: asked)
    except CmlError as e:
        print(e, file=sys.stderr)
        raise SystemExit(e.exit_code) from None


if __name__ == "__main__":
    main()
