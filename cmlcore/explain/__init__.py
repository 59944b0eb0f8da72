"""Why and where: position heatmaps of the cells."""

from cmlcore.explain.density import DensityGrid, density_grid

__all__ = ["DensityGrid", "density_grid"]
