"""The commands, the same on all platforms. To add one, add a class here and an entry in `registry`."""
