"""Whether people get what they mean: sentences in five languages through every surface (`python -m tests.intent`)."""
