"""``python -m cmlcore.jobs.device_probe DEVICE THREADS``: say the device as JSON."""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Print the device that a worker would choose."""
    import torch

    wanted, threads = sys.argv[1], int(sys.argv[2])
    kind = wanted.split(":")[0]
    if kind == "auto":
        mps = torch.backends.mps.is_available()
        kind = "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    used = threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads
    if kind == "cuda":
        name = torch.cuda.get_device_name(wanted if ":" in wanted else 0)
    else:
        name = "Apple GPU" if kind == "mps" else f"CPU ({used} threads)"
    print(json.dumps({"name": name, "kind": kind, "threads": used}))


if __name__ == "__main__":
    main()
