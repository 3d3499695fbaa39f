"""What the chat page sends, and the events that it follows."""
