"""Text, blocks and views in Slack's formats."""
