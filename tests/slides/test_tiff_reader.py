"""TIFF through tifffile: known pixels back in every layout, SubIFD pyramids, OME facts; against OpenSlide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from czi_writer import PRIVATE_WORDS, drawn, slow_mean
from numpy.typing import NDArray

from cmlcore.errors import SlideError
from cmlcore.geometry import Mpp, Region, Size
from cmlcore.slides import open_slide, tiff, tiff_file, vendor
from cmlcore.slides.base import SlideReader
from cmlcore.slides.pixels import mean_down

RGB = NDArray[np.uint8]
IMAGE = drawn(301, 403, seed=11)


def whole(reader: SlideReader, downsample: int = 1) -> RGB:
    size = reader.info.scenes[0].size
    return reader.read(0, Region(0, 0, size.w, size.h), downsample)


def with_tifffile(path: Path) -> tiff.TiffReader:
    return tiff.TiffReader(path, tiff_file.parse(path))


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("layout", [{"tile": (64, 80)}, {"rowsperstrip": 50}, {"rowsperstrip": 301}])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_every_layout(
    tmp_path: Path, compression: str | None, layout: dict[str, object], planar: str
) -> None:
    path = tmp_path / "a.tif"
    data = IMAGE if planar == "contig" else np.ascontiguousarray(IMAGE.transpose(2, 0, 1))
    tifffile.imwrite(path, data, photometric="rgb", planarconfig=planar, compression=compression, **layout)
    with with_tifffile(path) as reader:
        assert (whole(reader) == IMAGE).all()
        assert (reader.read(0, Region(60, 45, 120, 90)) == IMAGE[45:135, 60:180]).all()
        assert np.abs(whole(reader, 4) - slow_mean(IMAGE, 4)).max() <= 0.5 + 1e-6
        assert (reader.info.kind, reader.info.levels, reader.info.mpp) == ("brightfield", 1, None)


@pytest.mark.parametrize(
    "options", [{"bigtiff": True}, {"byteorder": ">"}, {"byteorder": ">", "bigtiff": True}]
)
def test_big_and_other_endian(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, IMAGE, photometric="rgb", tile=(128, 128), compression="zlib", **options)
    with with_tifffile(path) as reader:
        assert (whole(reader) == IMAGE).all()


def ome(path: Path, image: RGB, levels: int, **metadata: object) -> None:
    """An OME-TIFF with its pyramid in SubIFDs, as Bio-Formats and QuPath write them."""
    options = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(image, subifds=levels - 1, metadata={"axes": "YXS"} | metadata, **options)
        for _ in range(levels - 1):
            image = mean_down(image, 2)
            writer.write(image, subfiletype=1, **options)


def test_ome_pyramid_and_facts(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    size = {
        "PhysicalSizeX": 220.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 0.23,
        "PhysicalSizeYUnit": "µm",
    }
    ome(path, IMAGE, 3, Name="DOE JOHN", Description="MRN 00123456", **size)
    with open_slide(path, isolated=False) as reader:
        info = reader.info
        assert (info.format, info.levels, info.scenes[0].size) == ("OME-TIFF", 3, Size(403, 301))
        assert info.mpp == Mpp(0.22, 0.23)
        assert not [word for word in PRIVATE_WORDS if word in repr(info)]
        assert (whole(reader) == IMAGE).all()
        assert (whole(reader, 2) == mean_down(IMAGE, 2)).all()
        assert (whole(reader, 4) == mean_down(mean_down(IMAGE, 2), 2)).all()
        assert reader.factors(0) == (1, 2, 4)


def test_jpeg_kept_as_rgb(tmp_path: Path) -> None:
    """JPEG tiles marked RGB, as QuPath exports them: libraries that take them for YCbCr turn them green."""
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        options = {"compression": "jpeg", "compressionargs": {"outcolorspace": "rgb", "level": 95}}
        writer.write(IMAGE, photometric="rgb", tile=(128, 128), metadata={"axes": "YXS"}, **options)
    with open_slide(path, isolated=False) as reader:
        assert np.abs(whole(reader).astype(int) - IMAGE).mean() < 4
        assert reader.read(0, Region(12, 12, 8, 8)).reshape(-1, 3).mean(axis=0) == pytest.approx(
            (254, 0, 0), abs=6
        )


def test_against_openslide(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "tile": (128, 128), "compression": "zlib"}
    resolution = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as writer:
        writer.write(IMAGE, **options, **resolution)
        writer.write(mean_down(IMAGE, 2), subfiletype=1, **options)
    with vendor.VendorReader(path) as other, with_tifffile(path) as ours:
        assert other.info.mpp == ours.info.mpp == Mpp(0.25, 0.25)
        assert other.info.format == "Tiled TIFF"
        assert other.info.levels == 2
        for region in (Region(0, 0, 403, 301), Region(-20, 50, 100, 100), Region(390, 290, 50, 50)):
            assert (other.read(0, region) == ours.read(0, region)).all()
        assert (whole(other, 2) == mean_down(IMAGE, 2)).all()


def test_grey_and_channels(tmp_path: Path) -> None:
    deep = (IMAGE[..., 0].astype(np.uint16)) * 16
    grey, many, inverse = tmp_path / "g.tif", tmp_path / "c.ome.tif", tmp_path / "i.tif"
    tifffile.imwrite(grey, deep, tile=(64, 64))
    tifffile.imwrite(many, np.stack([deep, deep[::-1]]), ome=True, metadata={"axes": "CYX"}, tile=(64, 64))
    tifffile.imwrite(inverse, 255 - IMAGE[..., 0], photometric="miniswhite", rowsperstrip=20)
    with open_slide(grey, isolated=False) as reader:
        assert (reader.info.kind, reader.info.channels, reader.info.bits) == ("grey", 1, 16)
        assert whole(reader).std() > 20
    with open_slide(many, isolated=False) as reader:
        assert (reader.info.kind, reader.info.channels) == ("fluorescence", 2)
        assert whole(reader).shape == (301, 403, 3)
    with open_slide(inverse, isolated=False) as reader:
        assert (whole(reader)[..., 0] == IMAGE[..., 0]).all()


def test_files_named_in_the_metadata_are_not_followed(tmp_path: Path) -> None:
    planes = np.stack([IMAGE[..., 0], IMAGE[..., 1]])
    other, path = tmp_path / "other.ome.tif", tmp_path / "a.ome.tif"
    tifffile.imwrite(other, planes, ome=True, metadata={"axes": "CYX"})
    tifffile.imwrite(path, planes[:1], ome=True, metadata={"axes": "CYX"})
    data = path.read_bytes()
    text = tifffile.TiffFile(path).ome_metadata or ""
    assert 'SizeC="1"' in text
    path.write_bytes(data.replace(b'SizeC="1"', b'SizeC="2"'))
    with pytest.raises(SlideError):
        open_slide(path, isolated=False)
