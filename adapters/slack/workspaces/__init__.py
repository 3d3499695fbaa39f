"""The workspaces that installed the app, with their tokens."""
