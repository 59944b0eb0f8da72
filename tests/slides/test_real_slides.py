"""Every real file opens and shows, or is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmlcore.errors import SlideError
from cmlcore.geometry import Region
from cmlcore.slides import TileStore, open_slide

pytestmark = pytest.mark.realdata

# file: format, size of the first scene, scenes, kind, mpp, objective
EXPECTED = {
    "1_tileregion.czi": ("Zeiss CZI", (1480, 570), 1, "fluorescence", 0.4, 5),
    "Al2O3_SE_020_sp.czi": ("Zeiss CZI", (2048, 1536), 1, "grey", 0.0279, None),
    "CMU-1-Small-Region.svs": ("Aperio SVS", (2220, 2967), 1, "brightfield", 0.499, 20),
    "CellDivision_T3_Z5_CH2_X240_Y170_comp1.czi": ("Zeiss CZI", (240, 170), 1, "fluorescence", None, None),
    "CellDivision_T3_Z6_CH1_X300_Y200_DCV_ZSTD.czi": ("Zeiss CZI", (300, 200), 1, "fluorescence", 0.0906, 50),
    "DAPI_GFP.czi": ("Zeiss CZI", (640, 640), 1, "fluorescence", None, None),
    "Fluorescence_RGB.tif": ("TIFF", (275, 272), 1, "fluorescence", None, None),
    "LSM880_AiryScan.czi": ("Zeiss CZI", (38, 36), 1, "fluorescence", 0.0353, 63),
    "OS-1-detail.ome.tif": ("OME-TIFF", (1101, 1101), 1, "brightfield", 0.2271, None),
    "OS-2-ndpi.ome.tif": ("OME-TIFF", (2202, 2202), 1, "brightfield", 0.2271, None),
    "S3_1Pos_2Mosaic_T1_Z1_CH1.czi": ("Zeiss CZI", (295, 122), 3, "fluorescence", 1.6, 5),
    "boxes.tiff": ("Tiled TIFF", (300, 250), 1, "brightfield", None, None),
    "multiframe_camelyon_challenge_image.dcm": ("DICOM WSI", (1152, 700), 1, "brightfield", 28.969, None),
    "nuc_small.czi": ("Zeiss CZI", (320, 240), 1, "fluorescence", 0.4572, 20),
    "slide.jpeg": ("JPEG picture", (2500, 2500), 1, "brightfield", None, None),
    "small.svs": ("Aperio SVS", (16, 16), 1, "brightfield", 0.499, 20),
    "test3-DAPI-2-387.ndpi": ("Hamamatsu NDPI", (3968, 4864), 1, "fluorescence", 0.2282, 40),
}
REFUSED = {"SOURCE.md": "none of the slide formats"}
PATIENT_FREE = ("Filename", "CMU-1", "ScanScope", "User")


@pytest.mark.parametrize("name", EXPECTED)
def test_opens_and_shows(real_slides: Path, name: str, tmp_path: Path) -> None:
    path = real_slides / name
    if not path.exists():
        pytest.skip(f"{name} is not in this collection")
    form, size, scenes, kind, mpp, objective = EXPECTED[name]
    with open_slide(path) as reader:
        info = reader.info
        assert (info.format, len(info.scenes), info.kind, info.objective) == (form, scenes, kind, objective)
        assert (info.scenes[0].size.w, info.scenes[0].size.h) == size
        assert (info.mpp and info.mpp.x) == (pytest.approx(mpp, abs=5e-5) if mpp else None)
        assert not [word for word in PATIENT_FREE if word in repr(info)]
        for scene in info.scenes:
            shown = reader.read(scene.index, Region(0, 0, scene.size.w, scene.size.h), 2)
            assert shown.std() > 3  # a picture, not a blank
        store = TileStore(path, info, tmp_path)
        assert store.thumbnail(0, 256).startswith(b"\xff\xd8")
        assert store.tile(0, 0, 0, 0).startswith(b"\xff\xd8")
        store.close()


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(real_slides: Path, name: str) -> None:
    with pytest.raises(SlideError, match=REFUSED[name]):
        open_slide(real_slides / name)


def test_none_is_forgotten(real_slides: Path) -> None:
    assert {p.name for p in real_slides.iterdir() if p.is_file()} <= EXPECTED.keys() | REFUSED.keys()


def test_real_czi_against_the_second_reader(real_slides: Path) -> None:
    aicspylibczi = pytest.importorskip("aicspylibczi")
    from pylibCZIrw import czi as libczi

    path = real_slides / "1_tileregion.czi"
    other = aicspylibczi.CziFile(path)
    box = other.get_mosaic_bounding_box()
    region = (box.x, box.y, box.w, box.h)
    theirs = other.read_mosaic(region=region, scale_factor=1.0, C=0).reshape(box.h, box.w)
    with open_slide(path, isolated=False) as reader:
        ours = reader._raw(0, 1, Region(0, 0, box.w, box.h), 0)[..., 0]
        inside = np.zeros((box.h, box.w), bool)
        for r in reader.covered(0):
            inside[r.y : r.y1, r.x : r.x1] = True
        assert reader.info.scenes[0].origin == (box.x, box.y)
    assert (ours[inside] == theirs[inside]).all()
    reference = libczi.CziReader(str(path))
    total = reference.total_bounding_rectangle_no_pyramid
    reference.close()
    assert (total.x, total.y, total.w, total.h) == region


def show(path: Path) -> None:
    with open_slide(path) as reader:
        size = reader.info.scenes[0].size
        reader.read(0, Region(0, 0, size.w, size.h))


def test_damaged_real_files(real_slides: Path, tmp_path: Path) -> None:
    for name in (
        "CMU-1-Small-Region.svs",
        "test3-DAPI-2-387.ndpi",
        "multiframe_camelyon_challenge_image.dcm",
    ):
        data = (real_slides / name).read_bytes()
        path = tmp_path / name
        path.write_bytes(data[: len(data) // 2])
        with pytest.raises(SlideError):
            show(path)
