"""What is being answered now, for whoever watches."""
