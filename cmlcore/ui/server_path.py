"""A path on the server, typed in where the list does not have it."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from cmlcore.jobs.data_roots import data_roots

OTHER = "Another path"
"""The option of a list under which ``typed_path`` is asked."""


def typed_path(key: str) -> Path | None:
    """Entry of a path; whether it may be read is for ``checked_path``. None while nothing is entered."""
    roots = ", ".join(map(str, data_roots())) or "a folder named in CML_DATA or CML_IMPORT_DIRS"
    typed = st.text_input("Path on the server", key=key, placeholder="/…", help=f"Below {roots}").strip()
    return Path(typed) if typed else None
