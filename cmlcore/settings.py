"""All settings, read once from the environment (``CML_*``) and, where present, a ``.env`` file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from platformdirs import user_data_path
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CpuEngine = Literal["auto", "torch", "openvino"]


class Settings(BaseSettings):
    """Where data lives, what the server accepts, and how hard it may work."""

    model_config = SettingsConfigDict(env_prefix="CML_", env_file=".env", extra="ignore", frozen=True)

    home: Path = Field(default_factory=lambda: user_data_path("cmlscope"), description="all runtime data")
    database_url: str = Field("", description="empty: SQLite in home")
    import_dirs: list[Path] = Field(default=[], description="folders whose slides may be imported in place")
    data: Path | None = Field(None, description="folder of labelled image sets, to train on and to judge by")
    max_upload_bytes: int = Field(64 << 30, gt=0)
    host: str = "127.0.0.1"
    port: int = Field(8501, ge=1, le=65535)

    dask: str = Field("", description="tcp://… of a running scheduler; empty: a local cluster")
    workers: int = Field(1, ge=1, description="processes of the local cluster")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    threads: int = Field(0, ge=0, description="CPU threads of a worker; 0: all cores")
    cpu_engine: CpuEngine = Field("auto", description="auto: OpenVINO for the networks it makes faster")

    decode_memory_bytes: int = Field(4 << 30, gt=0, description="address space of a decoding process")
    decode_timeout_s: float = Field(10.0, gt=0, description="deadline of one decoding call")
    max_open_slides: int = Field(8, ge=1, description="decoding processes kept alive")
    tile_cache_bytes: int = Field(50 << 30, gt=0, description="quota of the converted tile cache")
    jpeg_quality: int = Field(85, ge=50, le=100)

    @property
    def slides_dir(self) -> Path:
        """Uploaded slides, one folder a slide id."""
        return self.home / "slides"

    @property
    def uploads_dir(self) -> Path:
        """Unfinished uploads."""
        return self.home / "uploads"

    @property
    def tiles_dir(self) -> Path:
        """Converted tile pyramids and thumbnails."""
        return self.home / "tiles"

    @property
    def runs_dir(self) -> Path:
        """One folder a run: Parquet parts and the manifest."""
        return self.home / "runs"

    @property
    def networks_dir(self) -> Path:
        """Networks made ready for OpenVINO; made anew where they are missing."""
        return self.home / "networks"

    @property
    def backbones_dir(self) -> Path:
        """Weight files that networks start from, as ``BACKBONE.*``."""
        return self.home / "backbones"

    @property
    def trainings_dir(self) -> Path:
        """One folder a training."""
        return self.home / "trainings"

    @property
    def evaluations_dir(self) -> Path:
        """One folder an evaluation."""
        return self.home / "evaluations"

    @property
    def db_url(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{self.home / 'cmlscope.sqlite'}"


@cache
def settings() -> Settings:
    """The settings of this process. Tests set the environment and call ``settings.cache_clear()``."""
    return Settings()
