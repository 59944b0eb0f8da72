"""The road of a training with the real child: drawn cells in, an installed model out, a few steps."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from cmlcore import job_folder, jobs, store
from cmlcore.errors import InputError
from cmlcore.files import read_json
from cmlcore.jobs.data_report import data_report, found_sets
from cmlcore.jobs.train_loop import TrainLoop
from cmlcore.training import TrainSettings, run_dir
from models.registry import card

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from drawn_training_set import MPP, draw_set

STEPS = 4
PATIENCE_S = 900.0  # only ever waited out when something is wrong


@pytest.fixture
def drawn(cml_home: Path) -> Path:
    store.ensure_schema()
    return draw_set(cml_home / "data" / "drawn")


def asked(drawn: Path, **more: object) -> dict[str, object]:
    smallest = {"backbone": "vit_tiny_patch16_224", "tile": 256, "batch": 1, "workers": 0, "threads": 1}
    length = {"steps": STEPS, "validate_every": STEPS, "device": "cpu"}
    classes = ("erythrocyte", "leukocyte")
    return {"data": [str(drawn)], "image_mpp": MPP, "classes": classes, **smallest, **length, **more}


def test_cells_are_counted_before_the_start(drawn: Path) -> None:
    assert found_sets()[str(drawn)] == "masks"
    told = data_report(TrainSettings.model_validate(asked(drawn)))
    assert told["images"] == {"all": 6, "train": 4, "val": 2}
    assert told["rows"][-1]["all"] == 54
    by_part = told["cells"]
    assert sum(by_part["train"].values()) == 36
    assert sum(by_part["val"].values()) == 18
    with pytest.raises(InputError, match="Thrombocyte"):
        data_report(TrainSettings.model_validate(asked(drawn, classes=("erythrocyte", "thrombocyte"))))


def test_from_the_row_to_the_installed_model(drawn: Path) -> None:
    training = jobs.submit_training("Drawn cells", asked(drawn, key="drawn", title="Drawn cells"))
    folder, loop, end = store.training_dir(training), TrainLoop(), time.monotonic() + PATIENCE_S
    while store.get_training(training).status in store.ACTIVE:
        assert time.monotonic() < end, job_folder.read_status(folder)
        loop.turn()
        time.sleep(0.2)
    row = store.get_training(training)
    assert (row.status, (folder / "child.log").read_text()) == ("done", "")
    events = run_dir.read_curves(folder)
    assert [(e["step"], e["split"]) for e in events] == [(STEPS, "train"), (STEPS, "val")]
    assert set(events[1]["ap50"]) == {"erythrocyte", "leukocyte"}
    assert read_json(folder / run_dir.DATA)["images"]["train"] == 4
    made = card("drawn")
    assert (made.title, made.classes, made.kind) == ("Drawn cells", ("erythrocyte", "leukocyte"), "type2")
    assert made.weights.is_file()
