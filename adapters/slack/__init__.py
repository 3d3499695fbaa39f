"""Slack: mentions, direct messages, threads and slash commands."""

from adapters.slack.adapter import SlackAdapter

__all__ = ["SlackAdapter"]
