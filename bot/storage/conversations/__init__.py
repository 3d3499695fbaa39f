"""Stored conversations: turns, summaries, votes."""
