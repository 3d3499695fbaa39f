"""What people publish, save and choose: versions, proposals, preferences, embeddings."""
