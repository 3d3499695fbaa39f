"""What was used and what may be: quotas, charges, reports, rate limits, latency."""
