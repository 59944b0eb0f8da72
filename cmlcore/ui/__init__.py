"""The pages' own parts: entry script, theme, charts, shared widgets, and the viewer component."""
