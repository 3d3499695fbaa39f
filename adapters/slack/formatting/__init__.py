"""Text, blocks and views in the forms that Slack takes."""
