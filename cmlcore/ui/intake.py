"""Ways in: resumable upload, import folder, demo slide."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import streamlit as st

from cmlcore.demo import demo_path
from cmlcore.errors import InputError, StorageError
from cmlcore.jobs import intake_slide
from cmlcore.settings import settings
from cmlcore.ui import widgets
from cmlcore.ui.uploader import slide_uploader

log = logging.getLogger(__name__)

LISTED = 500
DRAWING_S = 300.0
# What the list offers; whether a file is a slide at all is decided by its content once it is taken in.
_SUFFIXES = {
    *(".bif", ".czi", ".dcm", ".jpeg", ".jpg", ".mrxs", ".ndpi"),
    *(".png", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vms"),
}


def add_slides(*, expanded: bool) -> None:
    """Upload and import, side by side, folded away once there are slides."""
    with st.expander("Add slides", expanded=expanded, icon=":material/add:"):
        if settings().import_dirs:
            upload, folder = st.columns(2, gap="medium")
            with folder:
                _import()
        else:
            upload = st.container()
        with upload, widgets.said_plainly():
            arrived = slide_uploader("upload")
            if arrived is not None:
                st.rerun()


def demo_button() -> None:
    """Take the demo slide in; it is drawn first where that has not been done yet."""
    if st.button("Open the demo slide", type="primary", icon=":material/auto_awesome:", key="demo"):
        with widgets.said_plainly(), st.spinner("Drawing the demo slide"):
            intake_slide(_drawn(demo_path()), in_place=True, name="Demo smear")
            st.rerun()


def _drawn(path: Path) -> Path:
    """The demo slide, drawn in a process of its own: this one serves tiles meanwhile.

    Raises:
        StorageError: it could not be drawn.

    """
    if path.is_file():
        return path
    call = [sys.executable, "-c", "from cmlcore.demo import demo_path, draw_demo; draw_demo(demo_path())"]
    try:
        subprocess.run(call, check=True, timeout=DRAWING_S, capture_output=True)
    except (OSError, subprocess.SubprocessError) as e:
        log.warning("The demo slide was not drawn: %s", e)
        raise StorageError("The demo slide could not be drawn; make room on the disk and try again.") from e
    return path


def _import() -> None:
    files = importable(settings().import_dirs)
    st.markdown("**From an import folder**")
    if not files:
        st.caption("The import folders hold no slide at present.")
        return
    with st.form("import", border=False, clear_on_submit=True):
        file = st.selectbox(
            "File", files, format_func=lambda p: p.name, index=None, placeholder="Choose a file"
        )
        name = st.text_input(
            "Name in CMLscope", max_chars=200, placeholder="Without one, a neutral identifier is used"
        )
        asked = st.form_submit_button("Import in place", icon=":material/folder_open:")
    st.caption("The file stays where it is and is only read. Its own name is not kept.")
    if asked:
        with widgets.said_plainly():
            if file is None:
                raise InputError("Choose a file first.")
            intake_slide(file, in_place=True, name=name or None)
            st.rerun()


@st.cache_data(ttl=10, show_spinner=False)
def importable(folders: list[Path]) -> list[Path]:
    """Files in the import folders that may be slides, by path; links and hidden ones are left out."""
    found: list[Path] = []
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
            if path.suffix.lower() in _SUFFIXES and not hidden and path.is_file() and not path.is_symlink():
                found.append(path)
            if len(found) == LISTED:
                return found
    return found
