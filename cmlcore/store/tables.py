"""The tables: slides, runs and trainings. Rows handed out are detached; change them through the functions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, ForeignKey, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from cmlcore.geometry import Mpp
from cmlcore.slides.base import SlideInfo
from cmlcore.slides.facts import info_from_json
from cmlcore.store.ids import LENGTH

SlideStatus = Literal["checking", "converting", "ready", "refused", "deleting"]
RunStatus = Literal["queued", "running", "done", "failed", "cancelled"]
Stage = Literal["waiting", "opening", "planning", "segmenting", "summarising", "finished"]
ACTIVE: tuple[RunStatus, ...] = ("queued", "running")
Polygon = list[list[float]]  # [[x, y], …], level-0 pixels of the scene


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time; SQLite drops the zone, so it is taken off going in and put on coming out."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To UTC without a zone."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Back with the zone."""
        return None if value is None else value.replace(tzinfo=UTC)


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


class Base(DeclarativeBase):
    """Parent of all tables."""

    type_annotation_map = {dict[str, Any]: JSON(none_as_null=True), datetime: UtcDateTime()}


class Slide(Base):
    """One slide file. ``path`` may carry a person's name when imported in place: never show it."""

    __tablename__ = "slides"

    id: Mapped[str] = mapped_column(String(LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    path: Mapped[str] = mapped_column(Text)
    imported_in_place: Mapped[bool]
    sha256: Mapped[str] = mapped_column(String(64), default="")
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    format: Mapped[str] = mapped_column(String(100), default="")
    status: Mapped[SlideStatus] = mapped_column(String(16), default="checking", index=True)
    progress: Mapped[float] = mapped_column(default=0.0)  # of the present status, 0..1
    message: Mapped[str] = mapped_column(Text, default="")  # why refused
    facts: Mapped[dict[str, Any] | None]
    mpp_user_x: Mapped[float | None]
    mpp_user_y: Mapped[float | None]
    mpp_is_estimate: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)

    @property
    def info(self) -> SlideInfo | None:
        """The slide's facts; None until it has been checked."""
        return info_from_json(self.facts) if self.facts else None

    @property
    def mpp(self) -> Mpp | None:
        """The pixel size in force: the user's where given, else the file's; None where unknown."""
        if self.mpp_user_x is not None and self.mpp_user_y is not None:
            return Mpp(self.mpp_user_x, self.mpp_user_y)
        info = self.info
        return info.mpp if info else None


class Run(Base):
    """One model applied to one slide: what was asked (never changes) and how far it has come."""

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(String(LENGTH), primary_key=True)
    slide_id: Mapped[str] = mapped_column(ForeignKey("slides.id", ondelete="CASCADE"), index=True)
    scene: Mapped[int]
    rois: Mapped[list[Polygon] | None] = mapped_column(JSON(none_as_null=True))  # None: whole scene
    model: Mapped[str] = mapped_column(String(100))
    model_sha256: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]]
    mpp_x: Mapped[float]
    mpp_y: Mapped[float]
    mpp_is_estimate: Mapped[bool] = mapped_column(default=False)

    status: Mapped[RunStatus] = mapped_column(String(16), default="queued", index=True)
    stage: Mapped[Stage] = mapped_column(String(16), default="waiting")
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    blocks_total: Mapped[int] = mapped_column(default=0)
    blocks_done: Mapped[int] = mapped_column(default=0)
    blocks_empty: Mapped[int] = mapped_column(default=0)
    blocks_recut: Mapped[int] = mapped_column(default=0)
    cells: Mapped[int] = mapped_column(BigInteger, default=0)
    stage_fraction: Mapped[float] = mapped_column(default=0.0)
    eta_s: Mapped[float | None]  # as of heartbeat_at
    mm2_per_s: Mapped[float | None]
    worked_s: Mapped[float] = mapped_column(default=0.0)  # wall time, all sittings
    device: Mapped[str] = mapped_column(String(200), default="")
    message: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    manifest: Mapped[dict[str, Any] | None]
    summary: Mapped[dict[str, Any] | None]


class Training(Base):
    """One network being trained: what was asked (never changes), and its status; its folder says more."""

    __tablename__ = "trainings"

    id: Mapped[str] = mapped_column(String(LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    settings: Mapped[dict[str, Any]]
    status: Mapped[RunStatus] = mapped_column(String(16), default="queued", index=True)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    message: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
