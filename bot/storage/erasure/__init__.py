"""Deletes what is kept of a person or a place, everywhere."""
