"""The embedded Redis server: one per data directory."""
