"""``python -m boatinfer`` is the ``boatinfer`` command."""

from boatinfer.cli import main

main()
