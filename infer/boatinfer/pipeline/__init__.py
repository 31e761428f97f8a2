"""A run: which images there are, which need work, and how they are classified and recorded."""
