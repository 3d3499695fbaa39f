"""From what a person said to a turn: commands, the template that answers, preferences, context."""
