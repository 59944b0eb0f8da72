"""``python -m cmlcore.jobs.device_probe DEVICE THREADS``: say as JSON which device a worker would use."""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Choose the device as a worker does, and print it."""
    import torch

    from models.device import choose_device, describe, set_threads

    set_threads(int(sys.argv[2]))
    device = choose_device(sys.argv[1])
    print(json.dumps({"name": describe(device), "kind": device.type, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
