"""The only package that speaks Redis."""
