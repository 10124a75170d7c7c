"""What a CSV file holds, found with the standard library alone.

A file is read once, block by block: numbers go into compact arrays, other cells into bounded tables of
counts, so a million rows need megabytes rather than gigabytes.
"""

from pathlib import Path

__all__ = ["PENGUINS"]

PENGUINS = Path(__file__).resolve().parents[1] / "data" / "penguins.csv"
"""A real data set that ships with the package; its README names the source."""
