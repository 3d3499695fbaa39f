"""How an answer is shown in Teams: streamed, formatted, as cards."""
