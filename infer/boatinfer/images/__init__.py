"""The only image reader of the project.

Training, export, inference and tests all call `read`, so the same bytes give the same
pixels everywhere.
"""

from boatinfer.images.admission import Gate, Turn, limited, limits
from boatinfer.images.files import MAX_BYTES, load, load_in
from boatinfer.images.geometry import MAX_PIXELS, Pixels, fit
from boatinfer.images.isolated import IsolatedReader, PixelsOf
from boatinfer.images.reader import read, size

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Gate",
    "IsolatedReader",
    "Pixels",
    "PixelsOf",
    "Turn",
    "fit",
    "limited",
    "limits",
    "load",
    "load_in",
    "read",
    "size",
]
