"""About: what this is, what it reads, where it ends."""

from __future__ import annotations

import streamlit as st

from cmlcore import RESEARCH_USE, __version__
from cmlcore.settings import settings
from cmlcore.ui import widgets

widgets.header("About CMLscope", f"Version {__version__}")
st.info(RESEARCH_USE, icon=":material/science:")

left, right = st.columns(2, gap="large")
with left:
    st.subheader("What it does", anchor=False)
    st.markdown(
        "CMLscope opens a blood or bone-marrow smear slide in the browser, lets a neural network outline "
        "and name every cell, and gives the counts away. Networks can be trained and judged here on labelled "
        "images of your own. The model’s answer is a suggestion; a person decides."
    )
    st.subheader("What it reads", anchor=False)
    widgets.facts(
        {
            "Zeiss": "CZI, with scenes and mosaics",
            "Others": "SVS, NDPI, MRXS, BIF, DICOM, generic tiled TIFF",
            "Open formats": "OME-TIFF, TIFF, PNG, JPEG",
        }
    )
    st.caption(
        "A file is judged by its content. One that cannot be read is refused in one sentence that says why."
    )
with right:
    st.subheader("Where it ends", anchor=False)
    st.markdown(
        "- Segmentation needs stained brightfield colour slides; grey and fluorescence images can be "
        "looked at only.\n"
        "- Measures are as good as the pixel size. Where the file does not say it, you enter it, or take "
        "an estimate that stays marked as one.\n"
        "- Densities count the whole area analysed, empty glass included.\n"
        "- Counts are not corrected for the smear’s thickness or for overlapping cells."
    )
    st.subheader("Your data", anchor=False)
    st.markdown(
        "Everything stays on this machine. Label and macro images, titles, barcodes and the file’s own name "
        "are never shown, logged or exported; a slide goes by a generated identifier until you name it."
    )
    widgets.facts({"Data folder": str(settings().home)})
