"""Live updates of running answers."""
