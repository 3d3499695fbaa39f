"""The inbox of events, what workers claim of it, and dead letters."""
