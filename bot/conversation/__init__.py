"""From a message to a turn: commands, choice of the template, preferences, thread context."""
