"""Versions of the libraries that results depend on."""

from __future__ import annotations

import platform

from boatinfer._version import __version__

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Versions of boatinfer, of the libraries that read and classify, and of Python, by name."""
    import numpy
    import onnxruntime
    import PIL
    import pyarrow
    import simplejpeg

    modules = {
        "onnxruntime": onnxruntime,
        "numpy": numpy,
        "pyarrow": pyarrow,
        "pillow": PIL,
        "simplejpeg": simplejpeg,
    }
    library_versions = {name: str(module.__version__) for name, module in modules.items()}
    return {"boatinfer": __version__} | library_versions | {"python": platform.python_version()}
