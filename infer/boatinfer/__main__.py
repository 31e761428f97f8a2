"""The ``boatinfer`` command, also as ``python -m boatinfer``."""

import contextlib
import os
import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line; an interrupt, even of an import, is one sentence."""
    _use_utf8()
    try:
        try:
            from boatinfer.cli import main as command
        except (OSError, ImportError) as error:
            reason = getattr(error, "strerror", None) or error
            print(f"boatinfer: it cannot be loaded: {reason}; install it anew.", file=sys.stderr)  # noqa: T201
            sys.exit(1)
        command()
    except KeyboardInterrupt:
        print("boatinfer: interrupted.", file=sys.stderr)  # noqa: T201
        sys.exit(130)


def _use_utf8() -> None:
    """Starts Python anew, in its UTF-8 mode (PEP 540), where the locale has another encoding.

    File names are bytes, almost always of UTF-8. Python would take them for text of the locale's
    encoding, and pyarrow and onnxruntime would look for files by other names than Python.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return
    os.environ["PYTHONUTF8"] = "1"  # for the processes that this one starts
    if sys.stdout is not None and sys.stdout.isatty():  # it shows what the locale says
        os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    main()
