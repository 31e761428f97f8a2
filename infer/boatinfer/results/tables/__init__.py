"""CSV tables, made from the parts."""
