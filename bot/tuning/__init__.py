"""Training data for fine-tuning."""
