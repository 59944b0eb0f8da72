"""PNG and JPEG pictures: exact pixels, every mode as RGB, no invented pixel size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from czi_writer import drawn, slow_mean
from PIL import Image

from cmlcore.geometry import Region, Size
from cmlcore.slides import flat, open_slide

PICTURE = drawn(150, 211, seed=21)
ALL = Region(0, 0, 211, 150)


def test_png_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path, dpi=(96, 96))
    with open_slide(path, isolated=False) as reader:
        info = reader.info
        assert (info.format, info.scenes[0].size, info.levels) == ("PNG picture", Size(211, 150), 1)
        assert (info.mpp, info.objective, info.kind) == (None, None, "brightfield")
        assert (reader.read(0, ALL) == PICTURE).all()
        assert np.abs(reader.read(0, ALL, 8) - slow_mean(PICTURE, 8)).max() <= 0.5 + 1e-6
        assert reader.covered(0) == [ALL]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_mode_is_shown(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.fromarray(PICTURE).convert("L" if mode == "LA" else "RGB").convert(mode).save(path)
    with open_slide(path, isolated=False) as reader:
        shown = reader.read(0, ALL)
        assert shown.shape == PICTURE.shape
        assert reader.info.kind == ("grey" if mode in {"L", "LA", "1"} else "brightfield")
        assert abs(shown.mean() - PICTURE.mean()) < 12


def test_transparent_is_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (20, 10), (10, 20, 30, 0)).save(path)
    with open_slide(path, isolated=False) as reader:
        assert (reader.read(0, Region(0, 0, 20, 10)) == 255).all()


def test_deep_grey(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray((PICTURE[..., 0].astype(np.uint16)) * 200).save(path)
    with open_slide(path, isolated=False) as reader:
        assert (reader.info.kind, reader.info.bits) == ("grey", 16)
        assert reader.read(0, ALL).std() > 20


def test_a_cap_on_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(PICTURE).save(path)
    monkeypatch.setattr(flat, "MAX_PIXELS", 211 * 150 - 1)
    with pytest.raises(flat.SlideError, match="at most"):
        open_slide(path, isolated=False)
