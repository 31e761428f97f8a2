"""Versions of what results depend on."""

from __future__ import annotations

import platform

from boatinfer._version import __version__

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """Names of the libraries that read and classify, and of Python, to their versions."""
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
    found = {name: str(module.__version__) for name, module in modules.items()}
    return {"boatinfer": __version__} | found | {"python": platform.python_version()}
