"""What errors of model services mean: a table, and how it is read."""
