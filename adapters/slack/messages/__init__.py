"""What a message of Slack says: text, blocks, attachments, files and links, as parts of an event. Pure functions."""
