"""The Redis server that comes with Parley: one for each data directory."""
