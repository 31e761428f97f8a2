"""The engine that spreads a run over the machines of a Ray cluster."""
