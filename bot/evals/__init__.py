"""Evaluations of templates and deployments: cases, checks, runs and their results."""
