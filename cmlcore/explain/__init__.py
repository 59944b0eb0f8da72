"""Why and where: position heatmaps of the cells."""

from cmlcore.explain.density import Heat, heat

__all__ = ["Heat", "heat"]
