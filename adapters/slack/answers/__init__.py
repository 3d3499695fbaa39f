"""How an answer is written into a thread, or to a slash command."""
