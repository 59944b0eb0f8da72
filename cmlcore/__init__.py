"""CMLscope: segmentation, review and counting of blood and marrow cells on whole-slide images."""

import os

__version__ = "0.1.0"

RESEARCH_USE = "For research use only. Not for use in diagnostic procedures."

# Threads that wait for each other sleep. By default they spin, and where other work runs on the same cores
# they take from it, and from themselves, what they wait for: with two threads on two busy cores a network
# took four times as long. OpenMP reads this when it is loaded (with torch), so it stands here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
