"""The connection to Redis, its keys, and the secret store."""
