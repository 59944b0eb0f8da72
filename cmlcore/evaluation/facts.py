"""The facts that make an evaluation repeatable: hashes, versions, time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from cmlcore.errors import InputError
from cmlcore.ground_truth.records import Record

LIBRARIES = (  # what decides the figures
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scipy",
    "shapely",
    "opencv-python-headless",
    "faster-coco-eval",
)


def data_hash(records: Sequence[Record]) -> str:
    """SHA-256 over the images' bytes and all that the labels say, in their order; file names do not count.

    Raises:
        InputError: a file cannot be read.

    """
    digest = hashlib.sha256()
    for r in records:
        _file(digest, r.image)
        _labels(digest, r)
        if r.mask is not None:
            _file(digest, r.mask)
    return digest.hexdigest()


def labels_hash(records: Sequence[Record], slide_sha256: str) -> str:
    """The same for labels on a slide whose hash is known."""
    digest = hashlib.sha256(slide_sha256.encode())
    for r in records:
        _labels(digest, r)
    return digest.hexdigest()


def _labels(digest: hashlib._Hash, r: Record) -> None:
    head = (r.source, r.mpp, sorted(r.complete), r.names, [o is not None for o in r.outlines], len(r.rois))
    digest.update(repr(head).encode())
    for values in (r.boxes, r.clusters, *(o for o in r.outlines if o is not None), *r.rois):
        digest.update(np.ascontiguousarray(values, np.float32).tobytes())


def _file(digest: hashlib._Hash, path: Path) -> None:
    try:
        with path.open("rb") as f:
            digest.update(hashlib.file_digest(f, "sha256").digest())
    except OSError as e:
        raise InputError(f"{path.name} cannot be read; check that the file is there.") from e


def now() -> str:
    """ISO 8601, UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()
