"""Slack's payloads as events: pure, without input or output."""
