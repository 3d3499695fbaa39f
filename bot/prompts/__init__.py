"""Templates and few-shot pools: read, checked, published, and chosen from."""
