"""Tokens of texts and images, before a model is called."""
