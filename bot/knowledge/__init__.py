"""Finds passages of the organisation's own texts for a question."""
