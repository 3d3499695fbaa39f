"""Templates and few-shot pools: loading, checks, publishing, choice of examples."""
