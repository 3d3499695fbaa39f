"""Data for fine-tuning."""
