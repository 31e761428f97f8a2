"""The ``boatinfer`` command, also as ``python -m boatinfer``."""

import contextlib
import os
import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line; Ctrl-C, even during an import, prints one sentence, no traceback."""
    _use_utf8()
    try:
        try:
            from boatinfer.cli import main as command
        except (OSError, ImportError) as error:
            reason = getattr(error, "strerror", None) or error
            print(f"boatinfer: it cannot be loaded: {reason}; reinstall it.", file=sys.stderr)  # noqa: T201
            sys.exit(1)
        command()
    except KeyboardInterrupt:
        print("boatinfer: interrupted.", file=sys.stderr)  # noqa: T201
        sys.exit(130)


def _use_utf8() -> None:
    """Restarts Python in UTF-8 mode (PEP 540) if the locale has another encoding.

    File names are bytes, almost always UTF-8. Python would decode them with the locale's encoding,
    and pyarrow and onnxruntime would then look for files by other names than Python does.
    """
    if sys.getfilesystemencoding() == "utf-8":
        return
    os.environ["PYTHONUTF8"] = "1"  # for child processes
    if sys.stdout is not None and sys.stdout.isatty():  # it displays the locale's encoding
        os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
    with contextlib.suppress(OSError):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


if __name__ == "__main__":
    main()
