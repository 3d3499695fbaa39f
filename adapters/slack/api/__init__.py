"""Calls of Slack's Web API, and files in both directions."""
