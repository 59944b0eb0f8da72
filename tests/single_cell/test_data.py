"""Reading sets: layouts, names, the Matek download, groups, class lists, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cmlcore.classes import CLASSES
from cmlcore.errors import InputError
from cmlcore.single_cell.data import MATEK, MATEK_MPP, CellSet, key_of, load


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder; tmp_path itself holds the test's data folder."""
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def put(path: Path, size: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)).save(path)
    return path


def test_class_folders_by_any_known_name(root: Path) -> None:
    for name in ("Monozyt", "NGS", "neutrophil_band", "Mein Zelltyp"):
        put(root / name / "1.png")
    found = load(root)
    assert found.classes == ("neutrophil_band", "neutrophil_segmented", "monocyte", "mein_zelltyp")
    assert found.counts() == dict.fromkeys(found.classes, 1)
    assert (found.unit, found.mpp, found.refused) == ("image", None, ())


def test_parts_are_told_by_their_folders(root: Path) -> None:
    for part, n in (("train", 3), ("val", 2)):
        for i in range(n):
            put(root / part / "monocyte" / f"{part}{i}.png")
    found = load(root)
    assert [i.part for i in found.images] == ["train"] * 3 + ["val"] * 2
    assert len(found.part("val").images) == 2
    with pytest.raises(InputError, match="no part called test"):
        found.part("test")


def test_other_files_are_left_out_with_a_sentence(root: Path) -> None:
    put(root / "monocyte" / "1.png")
    (root / "monocyte" / "notes.txt").write_text("x")
    (root / "basophil").mkdir()
    found = load(root)
    assert [i.path.name for i in found.images] == ["1.png"]
    assert {r.why for r in found.refused} == {
        "notes.txt is no image; use PNG, JPEG, TIFF or BMP.",
        "The folder basophil holds no images.",
    }


@pytest.mark.parametrize("wrapped", [False, True])
def test_matek_as_downloaded(root: Path, wrapped: bool) -> None:
    top = root / "AML-Cytomorphology" if wrapped else root
    lines = []
    for code in MATEK:
        put(top / code / f"{code}_0001.tiff")
        lines.append(f"{code}/{code}_0001.tiff {code} nan nan")
    put(top / "MON" / "MON_0002.tiff")
    # two later readings of some cells; UNC: its reader could not tell
    lines += ["MON/MON_0002.tiff LYT UNC MON", "NGS/NGS_9999.tiff NGS nan nan", "NGS/NGS_0003.tiff XYZ"]
    (root / "annotations.dat").write_text("\n".join(lines))
    found = load(root)
    assert set(found.classes) == set(MATEK.values())
    assert found.counts()["lymphocyte"] == 2  # the annotation counts, not the folder
    assert found.counts()["monocyte"] == 1
    assert found.mpp == MATEK_MPP
    assert {r.why for r in found.refused} == {
        "1 images that annotations.dat names are not there; unpack the download once more.",
        "NGS_0003.tiff has no label of the 15 classes.",
    }


def test_the_15_classes_of_matek_are_in_the_tree() -> None:
    assert len(MATEK) == 15
    assert {key_of(code) for code in MATEK} == set(MATEK.values())
    assert set(MATEK.values()) <= set(CLASSES)


@pytest.mark.parametrize(
    ("column", "unit"), [("patient", "patient"), ("slide_id", "slide"), ("original_id", "original cell")]
)
def test_groups_come_from_a_table_beside_the_folders(root: Path, column: str, unit: str) -> None:
    for i in range(4):
        put(root / "monocyte" / f"{i}.png")
    (root / "cells.csv").write_text(f"image,{column}\n" + "".join(f"x/{i}.png,g{i // 2}\n" for i in range(4)))
    found = load(root)
    assert found.unit == unit
    assert [i.group for i in found.images] == ["g0", "g0", "g1", "g1"]


def test_a_table_of_other_images_says_nothing(root: Path) -> None:
    put(root / "monocyte" / "1.png")
    (root / "cells.csv").write_text("image,patient\nother.png,p1\n")
    assert load(root).unit == "image"


def three(root: Path) -> CellSet:
    for name in ("monocyte", "basophil", "eosinophil"):
        put(root / name / "1.png")
    return load(root)


def test_a_class_list_keeps_its_order_and_says_what_it_leaves_out(root: Path) -> None:
    three(root)
    found = load(root, ["Monozyt", "BAS", "lymphocyte"])
    assert found.classes == ("monocyte", "basophil")
    assert {r.why for r in found.refused} == {
        "1 images of “eosinophil” are left out: the class list does not name it.",
        "The class list names “lymphocyte”, but no image shows one.",
    }


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["monocyte", "MON"], "names monocyte twice"),
        (["monocyte"], "at least two classes"),
        (["net", "megakaryocyte"], "none of its folders is a class of the list"),
    ],
)
def test_wrong_class_lists_are_refused(root: Path, names: list[str], sentence: str) -> None:
    three(root)
    with pytest.raises(InputError, match=sentence):
        load(root, names)


def test_empty_and_absent_folders_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match="no usable cell images, none was found"):
        load(root)
    with pytest.raises(InputError, match="is not there"):
        load(root / "nowhere")


@pytest.mark.realdata
def test_real_pbc_and_matek(real_data: Path) -> None:
    pbc = load(real_data / "pbc")
    assert len(pbc.classes) == 11
    assert set(pbc.part("train").counts().values()) == {250}
    assert set(pbc.part("val").counts().values()) == {45}
    matek = load(real_data / "matek_mini")
    assert len(matek.images) == 46
    assert set(matek.classes) == set(MATEK.values())
    assert (matek.unit, len({i.group for i in matek.images})) == ("original cell", 42)
