"""The image reader of the project.

Training, export, inference and tests all call `read`, so the same file gives the same pixels
everywhere.
"""

from boatinfer.images.admission import Gate, LargeFileSlot, current_limits, temporary_limits
from boatinfer.images.files import MAX_BYTES, load, load_from_folder
from boatinfer.images.geometry import MAX_PIXELS, Pixels, fit, resized_size
from boatinfer.images.isolated import IsolatedReader, PixelReader
from boatinfer.images.reader import read, size

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Gate",
    "IsolatedReader",
    "LargeFileSlot",
    "PixelReader",
    "Pixels",
    "current_limits",
    "fit",
    "load",
    "load_from_folder",
    "read",
    "resized_size",
    "size",
    "temporary_limits",
]
