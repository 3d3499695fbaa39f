"""What is kept of conversations: turns, summaries, votes."""
