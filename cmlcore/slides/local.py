"""Opens a slide in this process: told by content, checked in pure Python, then handed to its backend."""

from __future__ import annotations

import stat
from pathlib import Path

from cmlcore.errors import SlideError
from cmlcore.slides import tiff_file
from cmlcore.slides.stored import StoredReader

UNKNOWN = "This file is none of the slide formats that can be opened."
JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
HEAD_BYTES = 256


def open_local(path: Path) -> StoredReader:
    """Open a slide in this process; SlideError if it is no slide, damaged, or refused.

    Backends are imported when they are first needed: a decoding process loads one.
    """
    head = _head(path)
    if head.startswith(b"ZISRAWFILE"):
        from cmlcore.slides.czi import CziReader

        return CziReader(path)
    if head.startswith(TIFF_STARTS):
        return _open_tiff(path)
    if head[128:132] == b"DICM":
        return _open_vendor(path, "This DICOM file is not a whole-slide image, or it is damaged.")
    if head.startswith(JPEG_START) and _is_mrxs(path):
        # the .mrxs file itself is a preview that shows the label: never a picture of its own
        return _open_vendor(path, "An MRXS slide needs the folder of the same name beside it.")
    if head.startswith((PNG_START, JPEG_START)):
        from cmlcore.slides.flat import FlatReader

        return FlatReader(path)
    raise SlideError(UNKNOWN)


def _is_mrxs(path: Path) -> bool:
    return path.suffix.lower() == ".mrxs" or path.with_suffix("").joinpath("Slidedat.ini").exists()


def _head(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise SlideError("A slide must be a file, not a folder or a device.")
        with path.open("rb") as f:
            head = f.read(HEAD_BYTES)
    except OSError as e:
        raise SlideError("The slide file cannot be opened; it is missing or may not be read.") from e
    if not head:
        raise SlideError("The file is empty.")
    return head


def _open_tiff(path: Path) -> StoredReader:
    """OME-TIFF through tifffile (OpenSlide sees one level of it), scanners' TIFF through OpenSlide."""
    checked = tiff_file.parse(path)
    from cmlcore.slides import tiff, vendor

    first = checked.ifds[0]
    known = "" if "<OME" in first.text(tiff_file.DESCRIPTION) else vendor.vendor_of(path)
    if not known or (known == vendor.GENERIC and not first.rgb8):
        return tiff.TiffReader(path, checked)
    return vendor.VendorReader(path, tiff_file.compression_of(first))


def _open_vendor(path: Path, refusal: str) -> StoredReader:
    from cmlcore.slides import vendor

    if not vendor.vendor_of(path):
        raise SlideError(refusal)
    return vendor.VendorReader(path)
