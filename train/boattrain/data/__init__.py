"""The commands of ``boatinfer data``: download, check, show and split labelled images."""
