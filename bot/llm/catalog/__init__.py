"""Deployments, model families, and probes."""
