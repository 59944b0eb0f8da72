"""What a training is told: one frozen value, the same from the shell, the page and a file. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cmlcore.classes import CLASSES
from cmlcore.errors import InputError
from cmlcore.geometry import MPP_LEAST, MPP_MOST

THREE_CELLS = ("erythrocyte", "leukocyte", "thrombocyte")
MODEL_MPP = 0.2  # an erythrocyte is 37 px wide

Model = Literal["type1", "type2"]
BACKBONES: dict[Model, tuple[str, ...]] = {
    "type1": (
        "tf_efficientnet_lite0",
        "resnet50-fpn-v2",
        "mobilenetv3_large_100",
        "resnet18",
        "resnet34",
        "convnext_tiny",
    ),
    "type2": (
        "vit_small_patch14_dinov2",
        "vit_tiny_patch16_224",
        "vit_small_patch16_224",
        "vit_base_patch16_224",
        "vit_base_patch14_dinov2",
        "vit_large_patch14_dinov2",
    ),
}
"""Backbones people are offered, the default first; any other of timm that fits can be named as well."""
Strength = Annotated[float, Field(ge=0, le=3)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Augmentation(_Frozen):
    """How much the tiles are varied; 0 switches one off, 1 is the strength that was measured to be good."""

    stain: Strength = Field(1.0, description="hue, saturation and depth of the stain")
    light: Strength = Field(1.0, description="brightness and colour of the lamp, gamma of the camera")
    blur: Strength = Field(1.0, description="out of focus, or sharpened by the scanner")
    noise: Strength = Field(1.0, description="noise of the camera")
    jpeg: Strength = Field(1.0, description="traces of JPEG compression")
    scale: Strength = Field(1.0, description="size of the cells, so that a pixel size may be a little wrong")
    close: Share = Field(0.15, description="share of tiles looked at from close by, for cells that large")
    closest: float = Field(2.3, ge=1, le=5, description="how often at most such a tile is magnified")
    turn: bool = Field(True, description="quarter turns and mirror images")
    blank: Share = Field(0.05, description="share of images replaced by bare ground")
    paste: Share = Field(0.5, description="share of images into which cells of rare classes are laid")


class TrainSettings(_Frozen):
    """One training.

    The budget is ``epochs``, ``steps`` or ``minutes``; where several are given, the first that is spent ends
    the training. An epoch is one pass over as many tiles as cover the training images once: their area at
    ``mpp`` divided by the mean area of a tile. Validations come after each epoch, or after as many as make
    50 steps.
    """

    model: Model = "type2"
    classes: tuple[str, ...] = Field(THREE_CELLS, min_length=1, description="keys of the class tree")
    preset: str | None = Field(None, description="the preset these values started from")
    data: tuple[Path, ...] = Field((), description="folders or files of labelled images")
    image_mpp: float | None = Field(
        None, ge=MPP_LEAST, le=MPP_MOST, description="µm per pixel of images that do not say it"
    )
    leave_out: tuple[str, ...] = Field(
        (), description="sources of which no image is used, so that the network can be judged on them later"
    )
    limit: int | None = Field(None, ge=1, description="at most so many images of each part")

    backbone: str = Field("", description="by name; empty: the one whose weights ship")
    backbone_weights: Path | None = Field(None, description="safetensors file the backbone starts from")
    pretrained: bool = Field(False, description="fetch the backbone's weights from timm's hub")
    start_from: str | None = Field(None, description="key of an installed model to go on from")
    frozen: int | None = Field(
        None,
        ge=0,
        description="type 2: lower blocks that stay as they are; none: 4 where weights are given",
    )

    epochs: float | None = Field(None, gt=0)
    steps: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0, description="wall time, all sittings together")
    lr: float = Field(5e-4, gt=0, le=1)
    weight_decay: float = Field(0.05, ge=0, le=1)
    warmup: Share = Field(0.02, description="share of the budget over which the learning rate rises")
    batch: int = Field(2, ge=1, description="tiles a step, on each device")
    tile: int | None = Field(
        None,
        ge=64,
        le=4096,
        multiple_of=32,
        description="side in pixels; none: 256 × 512 and 512 × 512",
    )
    mpp: float = Field(MODEL_MPP, ge=0.05, le=5, description="µm per pixel at which the network sees cells")
    clip: float = Field(5.0, gt=0, description="limit of the gradient's norm")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights, which are what is kept")

    balance: float = Field(
        0.27, ge=0, le=1, description="images with a class n times rarer are drawn n^balance times as often"
    )
    loss_balance: float = Field(0.2, ge=0, le=1, description="the same for the class's weight in the loss")
    augmentation: Augmentation = Augmentation()

    seed: int = Field(0, ge=0)
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    devices: int = Field(1, ge=1, description="how many of them; more than one train by DDP")
    workers: int = Field(1, ge=0, description="processes that draw tiles, for each device")
    threads: int = Field(0, ge=0, description="torch threads on the CPU; 0: all cores")
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"

    validate_every: int | None = Field(None, ge=1, description="steps between validations; none: each epoch")
    validate_images: int = Field(32, ge=1, description="at most so many val images each time")
    early_stop: int = Field(0, ge=0, description="validations without a better mAP50 to stop after; 0: never")
    save_s: float = Field(180.0, gt=0, description="seconds between checkpoints")

    key: str = Field("", description="key of the resulting model; empty: made from what is trained")
    title: str = Field("", description="title of the resulting model")

    @field_validator("classes")
    @classmethod
    def _known(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) != len(classes):
            raise ValueError("each class may be named once only")
        for name in classes:
            if not name or name != name.strip().lower() or name == "unidentified":
                raise ValueError(f"“{name}” cannot be a class to train; use a key such as leukocyte")
        return classes

    @model_validator(mode="after")
    def _one_start(self) -> TrainSettings:
        starts = [self.backbone_weights is not None, self.pretrained, self.start_from is not None]
        if sum(starts) > 1:
            raise ValueError("give one start only: backbone_weights, pretrained or start_from")
        return self

    @property
    def backbone_name(self) -> str:
        """The backbone by name, also where the default was left."""
        return self.backbone or BACKBONES[self.model][0]

    @property
    def labels(self) -> tuple[str, ...]:
        """What people call the classes."""
        return tuple(CLASSES[c].label if c in CLASSES else c.replace("_", " ") for c in self.classes)


def checked(values: dict[str, object]) -> TrainSettings:
    """Settings from values of a form, a file or the shell.

    Raises:
        InputError: a value is out of range or unknown; the sentence names the first.

    """
    try:
        return TrainSettings.model_validate(values)
    except ValidationError as e:
        first = e.errors(include_url=False)[0]
        where = ".".join(str(p) for p in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"The training setting {where or 'as a whole'} cannot be used: {message}.") from None
