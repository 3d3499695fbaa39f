"""Slack's Web API, file downloads and uploads."""
