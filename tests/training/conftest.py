"""Tiny labelled sets, written as the real ones lie on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_smear import CELLS, boxes_of, smear


def _save(path: Path, image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


@pytest.fixture
def sets_root(tmp_path: Path) -> Path:
    """A folder with one image of each set, 360 × 363 pixels."""
    root = tmp_path / "data"
    rgb, label = smear(363, 360, CELLS)
    txl = root / "txl_pbc"
    _save(txl / "train" / "images" / "a.png", rgb)
    (txl / "train" / "labels").mkdir()
    yolo = {0: 1, 1: 0, 2: 2}
    lines = []
    for (x0, y0, x1, y1), (*_, c) in zip(boxes_of(label), CELLS, strict=True):
        box = ((x0 + x1) / 720, (y0 + y1) / 726, (x1 - x0) / 360, (y1 - y0) / 363)
        lines.append(f"{yolo[c]} " + " ".join(f"{v:.6f}" for v in box))
    (txl / "train" / "labels" / "a.txt").write_text("\n".join(lines) + "\n")
    (txl / "meta_train.csv").write_text("image,width,height,source\na.png,360,363,PBC\n")

    red = [(70, 70, 50, 0), (250, 90, 50, 0), (170, 250, 50, 0), (330, 330, 50, 0), (375, 330, 45, 0)]
    rgb, label = smear(400, 400, red)
    seg = root / "bbbc041seg"
    _save(seg / "train" / "images" / "b.png", rgb)
    _save(seg / "train" / "masks" / "b.png", (label > 0).astype(np.uint8) * 255)
    x0, y0 = 280, 280
    row = f"b.png,{x0},{y0},400,381,1000,0,2,cluster,"
    header = "image,x0,y0,x1,y1,area_px,touches_border,n_boxes,class,box_classes"
    (seg / "instances_train.csv").write_text(f"{header}\n{row}\n")

    rgb, label = smear(512, 512, [(250, 260, 64, 1), (80, 80, 42, 0)])
    krd = root / "krd_wbc"
    _save(krd / "train" / "images" / "c.png", rgb)
    _save(krd / "train" / "masks" / "c.png", (label == 1).astype(np.uint8) * 255)
    (krd / "labels_train.csv").write_text("image,mask,class\nc.png,c.png,monocyte\n")
    return root
