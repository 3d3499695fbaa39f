"""Slack: mentions, direct messages, threads and slash commands."""

from adapters.slack.adapter import SlackAdapter, SlackCredentials

__all__ = ["SlackAdapter", "SlackCredentials"]
