"""A training without a network: a few numbers a step, a checkpoint each, orders from the environment.

Runs as ``cmlcore.training.child`` does: ``python -m jobs_fake_training FOLDER``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from cmlcore import job_folder
from cmlcore.training import run_dir

STEPS = 40
ORDER = "CML_FAKE_TRAINING"  # "", "fail", "die", "deaf"


def main() -> None:
    folder = Path(sys.argv[1])
    order = os.environ.get(ORDER, "")
    wanted = run_dir.read_settings(folder)
    steps = wanted.steps or STEPS
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    last = folder / run_dir.LAST
    step = int(last.read_text()) if last.is_file() else 0
    with (folder / "began.txt").open("a") as f:
        f.write(f"{step} {os.getpid()}\n")
    told = {"steps": steps, "epochs": 2, "device": "CPU (nobody)"}
    while step < steps:
        step += 1
        time.sleep(0.05)
        run_dir.append_curve(folder, {"step": step, "epoch": 2 * step // steps, "seconds": step * 0.05,
                                      "split": "train", "loss": 1 / step, "lr": 1e-4})  # fmt: skip
        last.parent.mkdir(exist_ok=True)
        last.write_text(str(step))
        job_folder.write_status(folder, state="running", step=step, epoch=2 * step // steps,
                             seconds=step * 0.05, left_s=(steps - step) * 0.05, **told)  # fmt: skip
        if order == "fail":
            job_folder.write_status(
                folder, state="failed", message="The loss is not a number any more; resume."
            )
            return
        if order == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if order != "deaf" and (ended or job_folder.stop_requested(folder)):
            job_folder.write_status(folder, state="cancelled", message="Cancelled.")
            return
        while order == "deaf":
            time.sleep(0.05)
    job_folder.write_status(folder, state="done", message="")


if __name__ == "__main__":
    main()
