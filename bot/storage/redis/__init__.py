"""The connection to Redis, its keys, and the secrets that are kept there."""
