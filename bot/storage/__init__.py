"""The only package that uses Redis."""
