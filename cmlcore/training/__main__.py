"""``cmlscope train --model type2 --data FOLDER --out DIR``: train, or go on training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch

from cmlcore.training import CellTiles, TileSettings, load_scenes, records
from cmlcore.training.loop import Budget, Loop, Recipe
from models.device import choose_device, describe, set_threads


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="cmlscope train", description=__doc__)
    p.add_argument("--model", choices=("type1", "type2"), required=True)
    p.add_argument("--data", type=Path, required=True, help="folder with one sub-folder a labelled set")
    p.add_argument("--out", type=Path, required=True, help="folder for checkpoints, the log and the weights")
    p.add_argument("--cache", type=Path, help="folder for prepared images; OUT/cache by default")
    p.add_argument("--backbone", type=Path, help="safetensors file to start the backbone from")
    p.add_argument("--minutes", type=float, default=90.0)
    p.add_argument("--steps", type=int, default=1_000_000_000)
    p.add_argument("--batch", type=int, default=2)
    p.add_argument("--lr", type=float, default=5e-4)
    p.add_argument("--frozen", type=int, default=6, help="type 2: lower blocks that stay as they are")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="auto")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--workers", type=int, default=1, help="processes that draw tiles; 0 for none")
    return p.parse_args(words)


def _recipe(args: argparse.Namespace) -> Recipe:
    if args.model == "type1":
        from cmlcore.training.type1 import Type1Recipe

        return Type1Recipe(backbone=args.backbone, lr=args.lr)
    from cmlcore.training.type2 import Type2Recipe
    from models.windowed_vit import VitConfig

    return Type2Recipe(VitConfig(), args.backbone, args.frozen, args.lr)


def main(words: Sequence[str] | None = None) -> None:
    """Train one network on every set found in the data folder's ``train`` parts; ``words`` stand for argv."""
    args = _arguments(words)
    torch.manual_seed(args.seed)
    cv2.setNumThreads(0)
    device = choose_device(args.device)
    set_threads(args.threads)
    print(f"Training {args.model} on {describe(device)}.", flush=True)
    scenes = load_scenes(records(args.data, "train"), args.cache or args.out / "cache")
    print(f"{len(scenes)} images, {sum(len(s.labels) for s in scenes)} cells.", flush=True)
    budget = Budget(minutes=args.minutes, steps=args.steps, batch=args.batch, workers=args.workers)
    tiles = CellTiles(scenes, 10_000_000, args.seed, TileSettings(same_size=args.batch))
    loop = Loop(_recipe(args), budget, args.out, device)
    weights = loop.run(tiles)
    torch.save(weights, args.out / "final.pt")
    print(
        f"{loop.step} steps in {loop.spent / 60:.0f} minutes; weights in {args.out / 'final.pt'}.", flush=True
    )


if __name__ == "__main__":
    main()
