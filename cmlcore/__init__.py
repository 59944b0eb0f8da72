"""CMLscope: segmentation, review and counting of blood and marrow cells on whole-slide images."""

__version__ = "0.1.0"

RESEARCH_USE = "For research use only. Not for use in diagnostic procedures."
