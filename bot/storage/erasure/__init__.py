"""Deletes the data of a person, a conversation or a tenant everywhere."""
