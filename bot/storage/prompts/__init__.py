"""Published versions, proposals, preferences, saved configurations, cached embeddings."""
