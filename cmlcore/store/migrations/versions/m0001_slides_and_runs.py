"""Slides and runs."""

import sqlalchemy as sa
from alembic import op

from cmlcore.store.tables import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "slides",
        sa.Column("id", sa.String(10), primary_key=True),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("imported_in_place", sa.Boolean, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("format", sa.String(100), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("progress", sa.Double, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("facts", sa.JSON),
        sa.Column("mpp_user_x", sa.Double),
        sa.Column("mpp_user_y", sa.Double),
        sa.Column("mpp_is_estimate", sa.Boolean, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_slides_status", "slides", ["status"])
    op.create_table(
        "runs",
        sa.Column("id", sa.String(10), primary_key=True),
        sa.Column("slide_id", sa.String(10), sa.ForeignKey("slides.id", ondelete="CASCADE"), nullable=False),
        sa.Column("scene", sa.Integer, nullable=False),
        sa.Column("rois", sa.JSON),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("mpp_x", sa.Double, nullable=False),
        sa.Column("mpp_y", sa.Double, nullable=False),
        sa.Column("mpp_is_estimate", sa.Boolean, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stage", sa.String(16), nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("blocks_total", sa.Integer, nullable=False),
        sa.Column("blocks_done", sa.Integer, nullable=False),
        sa.Column("blocks_empty", sa.Integer, nullable=False),
        sa.Column("blocks_recut", sa.Integer, nullable=False),
        sa.Column("cells", sa.BigInteger, nullable=False),
        sa.Column("stage_fraction", sa.Double, nullable=False),
        sa.Column("eta_s", sa.Double),
        sa.Column("mm2_per_s", sa.Double),
        sa.Column("worked_s", sa.Double, nullable=False),
        sa.Column("device", sa.String(200), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        sa.Column("heartbeat_at", UtcDateTime),
        sa.Column("manifest", sa.JSON),
        sa.Column("summary", sa.JSON),
    )
    op.create_index("ix_runs_slide_id", "runs", ["slide_id"])
    op.create_index("ix_runs_status", "runs", ["status"])


def downgrade() -> None:
    """Take both away."""
    op.drop_table("runs")
    op.drop_table("slides")
