"""The sets as they lie here, the originals as they are downloaded, and the way between."""

from __future__ import annotations

import csv
import shutil
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from cmlcore.errors import InputError
from cmlcore.ground_truth import MPP, instances_in_mask, load, names_of
from cmlcore.ground_truth.fetch import FetchError
from cmlcore.ground_truth.public import PUBLIC, get_public
from cmlcore.ground_truth.sets import records


def picture(path: Path, w: int, h: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.random.default_rng(seed).integers(150, 255, (h, w, 3)).astype(np.uint8)
    assert cv2.imwrite(str(path), rgb)
    return path


def discs(path: Path, w: int, h: int, *circles, values=None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((h, w), np.uint8)
    for i, (x, y, r) in enumerate(circles):
        cv2.circle(mask, (x, y), r, (values or [255] * 99)[i], -1)
    assert cv2.imwrite(str(path), mask)
    return path


def zipped(folder: Path, to: Path) -> Path:
    with zipfile.ZipFile(to, "w") as z:
        for p in sorted(folder.rglob("*")):
            z.write(p, p.relative_to(folder).as_posix())
    return to


def test_txl_pbc_from_its_repository(tmp_path):
    original = tmp_path / "in" / "TXL-PBC_Dataset-HEAD" / "TXL_PBC"
    sizes = {"train": (360, 363), "val": (575, 575), "test": (640, 480)}
    for part, size in sizes.items():
        picture(original / "images" / part / f"{part}.jpg", *size)
        label = original / "labels" / part / f"{part}.txt"
        label.parent.mkdir(parents=True)
        label.write_text("0 0.5 0.5 0.5 0.5\n1 0.1 0.1 0.2 0.2\n2 0.9 0.9 0.1 0.1\n")
    folder = get_public("txl_pbc", tmp_path / "sets", zipped(tmp_path / "in", tmp_path / "txl.zip"))
    assert folder == tmp_path / "sets" / "txl_pbc"
    (a,), (b,), (c,) = (load(folder, p) for p in ("train", "val", "test"))
    assert [r.source for r in (a, b, c)] == ["PBC", "Raabin", "BCCD"]
    assert a.names == ("leukocyte", "erythrocyte", "thrombocyte")
    np.testing.assert_allclose(a.boxes[0], [90, 90.75, 270, 272.25])
    assert a.complete == {"leukocyte", "erythrocyte", "thrombocyte"}
    assert a.mpp == MPP["PBC"]
    assert [p.name for p in (tmp_path / "sets").iterdir()] == ["txl_pbc"]  # nothing half-done is left


def test_bccd_from_its_repository(tmp_path):
    root = tmp_path / "BCCD_Dataset-HEAD" / "BCCD"
    for n, part in (("BloodImage_00000", "train"), ("BloodImage_00001", "val")):
        picture(root / "JPEGImages" / f"{n}.jpg", 640, 480)
        listing = root / "ImageSets" / "Main" / f"{part}.txt"
        listing.parent.mkdir(parents=True, exist_ok=True)
        listing.write_text(f"{n}\n")
        xml = root / "Annotations" / f"{n}.xml"
        xml.parent.mkdir(exist_ok=True)
        box = "<bndbox><xmin>{}</xmin><ymin>64</ymin><xmax>{}</xmax><ymax>160</ymax></bndbox>"
        cell = f"<object><name>{{}}</name>{box}</object>"
        xml.write_text(
            "<annotation>" + cell.format("RBC", 100, 200) + cell.format("WBC", 300, 500) + "</annotation>"
        )
    folder = get_public("bccd", tmp_path / "sets", tmp_path / "BCCD_Dataset-HEAD")
    (train,), (val,) = load(folder, "train"), load(folder, "val")
    assert train.names == val.names == ("erythrocyte", "leukocyte")
    np.testing.assert_allclose(train.boxes[1], [300, 64, 500, 160], atol=1e-2)
    assert (train.complete, train.mpp) == ({"leukocyte"}, MPP["BCCD"])


def test_bbbc041seg_from_its_archive(tmp_path):
    for i in range(30):
        picture(tmp_path / "x" / "Original images" / f"c{i}.png", 300, 200)
        cells = [
            (40, 40, 20),
            (120, 40, 20),
            (200, 120, 21),
            (80, 120, 19),
            (150, 180, 40),
        ]  # the last: a clump
        discs(tmp_path / "x" / "Annotated mask" / f"c{i}.png", 300, 200, *cells)
    folder = get_public("bbbc041seg", tmp_path, tmp_path / "x")
    train, val = load(folder, "train"), load(folder, "val")
    assert len(train) + len(val) == 30
    assert 1 <= len(val) <= 9
    owner, names, ignore = instances_in_mask(train[0])
    assert names == ("erythrocyte",) * 4
    assert len(train[0].clusters) == 1
    assert ignore[180, 150]
    assert owner[180, 150] == 0


def test_krd_wbc_from_its_archive(tmp_path):
    root = tmp_path / "x" / "KRD-WBC dataset"
    for i in (1, 2, 3, 200, 202):
        picture(root / "Dataset" / "image" / f"image{i}.jpg", 128, 128)
        discs(root / "Dataset" / "mask" / f"mask{i}.jpg", 128, 128, (64, 64, 30))
    (root / "class labels.csv").write_text("image,Categoriy\nimage1,Neutrophil\nimage200.jpg,Lymphocytes\n")
    folder = get_public("krd_wbc", tmp_path, zipped(tmp_path / "x", tmp_path / "krd.zip"))
    found = load(folder, "all")
    assert len(found) == 5
    assert names_of(found[0]) == ("leukocyte",)
    rows = [r for t in folder.glob("labels_*.csv") for r in csv.DictReader(t.open())]
    assert {r["image"]: r["class"] for r in rows if r["class"]} == {
        "image1.jpg": "neutrophil",
        "image200.jpg": "lymphocyte",
    }
    by_part = {r.image.name: r.image.parent.parent.name for r in found}
    assert by_part["image200.jpg"] == by_part["image202.jpg"]  # one field


def test_zxaoyou_from_its_repository(tmp_path):
    root = tmp_path / "x" / "segmentation_WBC-master"
    picture(root / "Dataset 2" / "001.bmp", 100, 90)
    discs(root / "Dataset 2" / "001.png", 100, 90, (50, 45, 30), (50, 45, 15), values=[128, 255])
    picture(root / "Dataset 1" / "001.bmp", 120, 120)
    discs(root / "Dataset 1" / "001.png", 120, 120, (50, 45, 30))
    (root / "Class Labels of Dataset 2.csv").write_text("image ID,class label\n1,2\n")
    folder = get_public("zxaoyou_ds2", tmp_path, tmp_path / "x")
    (record,) = load(folder, "train")
    owner, names, _ = instances_in_mask(record)
    assert names == ("leukocyte",)
    assert owner[45, 75] == 1  # the cytoplasm belongs to the cell
    assert (folder / "labels.csv").read_text().splitlines()[1] == "001.png,lymphocyte"


def test_single_cells_keep_their_classes_as_folders(tmp_path):
    root = tmp_path / "x" / "PBC_dataset_normal_DIB"
    for folder, name in (
        ("ig", "PMY_1"),
        ("ig", "IG_2"),
        ("neutrophil", "BNE_3"),
        ("platelet", "PLATELET_4"),
    ):
        picture(root / folder / f"{name}.jpg", 36, 36)
    laid = get_public("pbc", tmp_path, tmp_path / "x")
    assert sorted(p.parent.name for p in laid.rglob("*.jpg")) == [
        "neutrophil_band",
        "platelet",
        "promyelocyte",
    ]
    aml = tmp_path / "y" / "AML-Cytomorphology_LMU"
    picture(aml / "BAS" / "BAS_0001.tiff", 40, 40)
    (aml / "annotations.dat").write_text("BAS/BAS_0001.tiff BAS nan nan\n")
    laid = get_public("matek", tmp_path, tmp_path / "y")
    assert sorted(p.relative_to(laid).as_posix() for p in laid.rglob("*.*")) == [
        "BAS/BAS_0001.tiff",
        "annotations.dat",
    ]


def test_what_is_not_the_set_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.zip").write_text("no archive")
    with pytest.raises(InputError, match="no public set"):
        get_public("nothing", tmp_path / "sets")
    with pytest.raises(InputError, match="does not hold TXL-PBC"):
        get_public("txl_pbc", tmp_path / "sets", tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist"):
        get_public("txl_pbc", tmp_path / "sets", tmp_path / "gone")
    with pytest.raises(InputError, match="no ZIP file"):
        get_public("txl_pbc", tmp_path / "sets", tmp_path / "words.zip")
    with pytest.raises(FetchError, match=r"needs a browser.*cancerimagingarchive.*--from"):
        get_public("matek", tmp_path / "sets")
    assert not (tmp_path / "sets" / "txl_pbc").exists()


def test_a_set_that_is_there_is_not_touched(tmp_path):
    (tmp_path / "krd_wbc").mkdir()
    with pytest.raises(InputError, match="is there already"):
        get_public("krd_wbc", tmp_path, tmp_path)


def test_the_catalogue_says_where_all_comes_from():
    assert set(PUBLIC) == {"txl_pbc", "bccd", "bbbc041seg", "krd_wbc", "zxaoyou_ds2", "pbc", "matek"}
    for s in PUBLIC.values():
        assert s.page.startswith("https://")
        assert all((s.title, s.covers, s.licence, s.size, s.file))


def test_real_copies_are_taken_as_they_are(real_data, tmp_path):
    laid = get_public("krd_wbc", tmp_path, real_data / "krd_wbc")
    ours, theirs = load(laid, "val"), load(real_data / "krd_wbc", "val")
    assert [r.image.read_bytes() for r in ours[:5]] == [r.image.read_bytes() for r in theirs[:5]]
    assert len(ours) == len(theirs) == 61


def test_the_real_txl_pbc_in_its_original_layout(real_data, tmp_path):
    original = tmp_path / "in" / "TXL_PBC"
    theirs = load(real_data / "txl_pbc", "val")[:12]
    for r in theirs:
        for kind, file in (
            ("images", r.image),
            ("labels", r.image.parent.with_name("labels") / f"{r.image.stem}.txt"),
        ):
            (original / kind / "val").mkdir(parents=True, exist_ok=True)
            shutil.copy(file, original / kind / "val" / file.name)
    ours = load(get_public("txl_pbc", tmp_path, tmp_path / "in"), "val")
    by_name = {r.image.name: r for r in theirs}
    assert len(ours) == 12
    for r in ours:
        same = by_name[r.image.name]
        assert (r.names, r.source, r.mpp) == (same.names, same.source, same.mpp)
        np.testing.assert_array_equal(r.boxes, same.boxes)


def test_real_masks_agree_with_their_table(real_data):
    record = records(real_data, "val", ("bbbc041seg",))[0]
    owner, names, ignore = instances_in_mask(record)
    with (real_data / "bbbc041seg" / "instances_val.csv").open() as f:
        rows = [r for r in csv.DictReader(f) if r["image"].startswith(record.image.stem)]
    single = [r for r in rows if r["class"] not in ("cluster", "leukocyte")]
    assert len(names) == len(single)
    assert sorted(np.unique(owner, return_counts=True)[1][1:].tolist()) == sorted(
        int(r["area_px"]) for r in single
    )
    assert int(ignore.sum()) == sum(int(r["area_px"]) for r in rows) - sum(int(r["area_px"]) for r in single)
