"""``python -m cmlcore.jobs.child_main MODULE FOLDER``: run a module over a job's folder, at low priority.

It ends with the process that started it, however that goes: its stdin closes then.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
import threading
from pathlib import Path

from cmlcore.job_folder import write_status

NICE = 10  # viewing and segmenting come first


def main() -> None:
    """Run the module as if called with the folder."""
    module, folder = sys.argv[1:]
    os.nice(NICE)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    write_status(Path(folder), state="running", pid=os.getpid())
    sys.argv = [module, folder]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _leave_with_parent() -> None:
    with contextlib.suppress(OSError):
        os.read(sys.stdin.fileno(), 1)
    if os.getpgrp() == os.getpid():  # workers that the module started go too
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
