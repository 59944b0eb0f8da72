"""Drawn pictures and CZI files made of them, for tests of anything that reads slides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cmlcore.geometry import Mpp
from cmlcore.slides.czi_write import CziWriter, write_slide

__all__ = ["PRIVATE_WORDS", "CziWriter", "drawn", "private_xml", "slow_mean", "write_slide"]

RED = (255, 0, 0)
PRIVATE_WORDS = (
    "Hematologist",
    "jhema",
    "DOE",
    "JOHN",
    "H26-01234",
    "00123456",
    "1950",
    "Clinic",
    "secret_name",
)


def drawn(h: int, w: int, seed: int = 0) -> NDArray[np.uint8]:
    """A smear-like picture: bright ground, round cells, grain, and a pure red square at (8..24, 8..24)."""
    rng = np.random.default_rng(seed)
    picture = np.empty((h, w, 3), np.float32)
    picture[:] = (236, 228, 232)
    for _ in range(max(4, h * w // 1500)):
        cy, cx, r = rng.integers(h), rng.integers(w), rng.integers(5, 14)
        y0, x0 = max(0, cy - r), max(0, cx - r)
        part = picture[y0 : cy + r, x0 : cx + r]
        yy, xx = np.ogrid[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1]]
        part[(yy - cy) ** 2 + (xx - cx) ** 2 < r * r] = rng.integers((150, 80, 90), (215, 150, 160))
    picture += rng.normal(0, 4, (h, w, 3))
    out = np.clip(picture, 0, 255).astype(np.uint8)
    out[8:24, 8:24] = RED
    return out


def slow_mean(rgb: NDArray[np.uint8], d: int) -> NDArray[np.float64]:
    """The exact mean of each d × d block, blocks at the edge over what they have."""
    h, w = rgb.shape[:2]
    out = np.empty((-(-h // d), -(-w // d), 3))
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = rgb[y * d : (y + 1) * d, x * d : (x + 1) * d].reshape(-1, 3).mean(axis=0)
    return out


def private_xml(mpp: Mpp) -> str:
    """Metadata as a scanner writes it, full of what identifies people."""
    axes = "".join(
        f'<Distance Id="{a}"><Value>{v * 1e-6:.10g}</Value></Distance>'
        for a, v in (("X", mpp.x), ("Y", mpp.y))
    )
    return f"""<?xml version="1.0" encoding="utf-8"?>
<ImageDocument><Metadata><Information>
<User Id="u1"><DisplayName>Dr. Jane Hematologist</DisplayName><Institution>Clinic</Institution></User>
<Document><Name>H26-01234 DOE JOHN</Name><CreationDate>2026-05-04T09:08:07Z</CreationDate>
<UserName>jhema</UserName><Title>DOE^JOHN</Title><Comment>MRN 00123456</Comment></Document>
<Image><PixelType>Bgr24</PixelType><AcquisitionDateAndTime>2026-05-04T09:10:11.123Z</AcquisitionDateAndTime>
<ObjectiveSettings><ObjectiveRef Id="Objective:2"/></ObjectiveSettings>
<Dimensions><Channels><Channel Id="Channel:0" Name="DOE">
<ContrastMethod>Brightfield</ContrastMethod></Channel></Channels>
<S><Scenes><Scene Index="0" Name="DOE JOHN"/></Scenes></S>
</Dimensions></Image>
<Instrument><Objectives>
<Objective Id="Objective:1"><NominalMagnification>10</NominalMagnification></Objective>
<Objective Id="Objective:2"><NominalMagnification>63</NominalMagnification></Objective>
</Objectives></Instrument>
</Information><AttachmentInfos><AttachmentInfo Id="A:0"><Label><Barcodes><Barcode Id="B:0">
<Content>H26-01234;DOE;JOHN;19500101</Content></Barcode></Barcodes></Label></AttachmentInfo></AttachmentInfos>
<Scaling><Items>{axes}</Items></Scaling></Metadata></ImageDocument>"""


def write_private(path: Path) -> NDArray[np.uint8]:
    """A slide with label, preview and thumbnail attached and identifying metadata; returns its pixels."""
    picture = drawn(300, 400)
    with CziWriter(path) as czi:
        czi.add(picture, (0, 0), dims={"S": 0, "M": 0})
        czi.attach("Label", "CZI", b"DOE JOHN" * 8)
        czi.attach("SlidePreview", "CZI", b"DOE JOHN" * 8)
        czi.attach("Thumbnail", "JPG", b"DOE JOHN" * 8)
        czi.close(private_xml(Mpp(0.22, 0.22)))
    return picture
