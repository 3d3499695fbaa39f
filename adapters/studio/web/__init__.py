"""What pages are drawn with: templates, charts, highlighted code."""
