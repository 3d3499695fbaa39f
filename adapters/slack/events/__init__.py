"""Payloads of Slack as events. Pure functions."""
