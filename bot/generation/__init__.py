"""Produces one answer: builds the prompt within the token budget, streams text and images, records the turn."""
