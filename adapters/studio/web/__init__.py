"""Rendering: templates, charts, highlighted code."""
