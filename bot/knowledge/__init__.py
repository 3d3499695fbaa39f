"""The organisation's own texts, found for a question."""
