"""Writes answers into threads, or as responses to slash commands."""
