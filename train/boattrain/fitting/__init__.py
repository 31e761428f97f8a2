"""The training loop, and what it is given and leaves."""
