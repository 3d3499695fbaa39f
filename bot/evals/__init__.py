"""Evaluations: questions, what is demanded of the answers, and how templates and deployments do."""
