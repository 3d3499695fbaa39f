"""Incoming requests from Teams are verified, stored, then acknowledged."""
