"""The training loop, its inputs and its results."""
