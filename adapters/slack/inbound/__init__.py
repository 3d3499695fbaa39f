"""Incoming requests from Slack are verified, stored, then acknowledged; thread history is read."""
