"""Models that others have made: what their files and papers say becomes a card."""
