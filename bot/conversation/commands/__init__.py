"""The commands that people type, the same on every platform. A new one is a class here and an entry in `registry`."""
