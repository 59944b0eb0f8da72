"""Training: the labelled sets, tiles drawn from them, and the loop that fits a network to them."""

from cmlcore.training.scenes import STORE_MPP, Scene, load_scenes
from cmlcore.training.sets import CLASSES, MPP, Record, records
from cmlcore.training.tiles import MODEL_MPP, CellTiles, TileSettings, collate, masks_of

__all__ = [
    "CLASSES",
    "MODEL_MPP",
    "MPP",
    "STORE_MPP",
    "CellTiles",
    "Record",
    "Scene",
    "TileSettings",
    "collate",
    "load_scenes",
    "masks_of",
    "records",
]
