"""Leukocytes in labelled fields: found where the labels say, asked for shared classes only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmlcore.errors import InputError
from cmlcore.single_cell import abroad
from cmlcore.single_cell.abroad import FIVE, judge_abroad
from cmlcore.single_cell.classify import Answers
from cmlcore.single_cell.in_fields import FieldCell, field_cells, shared


def test_wider_classes_sum_up_their_kinds() -> None:
    classes = ("neutrophil_band", "neutrophil_segmented", "promyelocyte", "monocyte")
    probs = np.array([[0.3, 0.2, 0.4, 0.1], [0.0, 0.0, 1.0, 0.0]])
    asked = shared(probs, classes, ("neutrophil", "monocyte"))
    np.testing.assert_allclose(asked, [[0.5 / 0.6, 0.1 / 0.6], [0, 0]])


class Told:
    """Answers with the class it is told to, in order."""

    class card:
        classes = ("neutrophil_band", "monocyte", "promyelocyte")
        field_um = 22.0

    side, batch = 32, 2

    def __init__(self, places: list[int]) -> None:
        self.places = iter(places)

    def classify(self, fields: np.ndarray) -> Answers:
        probs = np.full((len(fields), 3), 0.1, np.float32)
        for row in probs:
            row[next(self.places)] = 0.8
        return Answers(self.card.classes, probs, np.linspace(0.5, 1.5, len(fields), dtype=np.float32))


def test_figures_by_microscope(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["neutrophil", "neutrophil_segmented", "monocyte", "monocyte", "myelocyte"]
    cells = [
        FieldCell(Path(f"{i}.png"), "BCCD" if i < 2 else "krd_wbc", c, (0, 0)) for i, c in enumerate(names)
    ]
    monkeypatch.setattr(abroad, "field_cells", lambda root, part: cells)
    monkeypatch.setattr(FieldCell, "field", lambda self, side, um: np.zeros((side, side, 3), np.uint8))
    found = judge_abroad(Told([0, 2, 1, 0]), Path())  # type: ignore[arg-type]
    # the promyelocyte answer is a tie between neutrophil and monocyte once only those may be named
    assert found["sources"]["BCCD"]["open_balanced_accuracy"] == 0.5
    assert found["sources"]["krd_wbc"] == {
        "images": 2,
        "balanced_accuracy": 0.5,
        "open_balanced_accuracy": 0.5,
        "unknown_share": 0.5,
    }
    assert found["classes"] == list(FIVE)
    assert np.sum(found["whole"]["confusion"]) == 4  # the myelocyte is none of the five
    with pytest.raises(InputError, match="choose other sources"):
        judge_abroad(Told([]), Path(), sources=["Raabin"])  # type: ignore[arg-type]


def test_a_folder_without_such_sets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no fields with leukocyte sub-classes"):
        field_cells(tmp_path)


@pytest.mark.realdata
def test_real_cells_are_dark_in_the_middle_of_their_field(real_data: Path) -> None:
    cells = field_cells(real_data, "val")
    assert {c.source for c in cells} >= {"krd_wbc", "BCCD"}
    for cell in cells[::12]:
        field = cell.field(side=64).astype(int)
        assert field[24:40, 24:40, 1].mean() < field[:, :, 1].mean() - 10  # nuclei take the green away
