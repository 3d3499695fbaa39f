"""Many deployments as one model: routing, retries, rate limits, circuit breakers."""
