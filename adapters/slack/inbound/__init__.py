"""What comes in from Slack: verified, stored, acknowledged; and what was said before."""
