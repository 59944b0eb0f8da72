"""What leaves the house: CSV, GeoJSON, the summary, and the packed cell layer for the browser."""

from cmlcore.report.csv_report import csv_stream
from cmlcore.report.geojson import geojson_stream
from cmlcore.report.header import header_facts
from cmlcore.report.overlay import overlay_centres, overlay_index, overlay_tile
from cmlcore.report.summary import summary

__all__ = [
    "csv_stream",
    "geojson_stream",
    "header_facts",
    "overlay_centres",
    "overlay_index",
    "overlay_tile",
    "summary",
]
