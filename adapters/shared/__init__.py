"""Shared by the adapters: Markdown, HTTP, Entra tokens, throttled edits."""
