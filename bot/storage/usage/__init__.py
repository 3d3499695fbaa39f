"""Quotas, charges, usage reports, rate limits, latency."""
