"""The pages beside the chat and the playground."""
