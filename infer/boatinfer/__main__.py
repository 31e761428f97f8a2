"""The ``boatinfer`` command, also as ``python -m boatinfer``."""

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line; an interrupt, even of an import, is one sentence."""
    try:
        from boatinfer.cli import main as command

        command()
    except KeyboardInterrupt:
        print("boatinfer: interrupted.", file=sys.stderr)  # noqa: T201
        sys.exit(130)


if __name__ == "__main__":
    main()
