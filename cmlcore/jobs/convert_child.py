"""``python -m cmlcore.jobs.convert_child SLIDE FOLDER``: convert a slide to the tile cache beside the server.

Says on stdout, a line each, the finished share and at last ``done`` or ``error`` with a sentence.
Ends when its stdin does, that is when the server goes, however it goes.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from cmlcore.errors import CmlError
from cmlcore.slides import prepare

NICE = 10  # viewing and segmenting come first


def main() -> None:
    """Convert, and say how far it is."""
    os.nice(NICE)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        prepare(Path(sys.argv[1]), Path(sys.argv[2]), lambda share: print(f"{share:.4f}", flush=True))
    except CmlError as e:
        print(f"error {e}", flush=True)
    else:
        print("done", flush=True)


def _leave_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
