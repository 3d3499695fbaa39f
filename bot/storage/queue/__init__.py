"""The inbox of events, claims, backlog, dead letters."""
