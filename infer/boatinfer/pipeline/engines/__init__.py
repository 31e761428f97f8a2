"""How the work of a run is spread over threads or machines."""
