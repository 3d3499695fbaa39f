"""Shows answers in Teams: streams, formatting, cards."""
