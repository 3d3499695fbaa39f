"""Reads files that people send, in separate processes, so that no file can block or exhaust the bot."""
