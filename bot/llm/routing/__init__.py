"""Many deployments as one model: which is asked, how often, and which steps in."""
