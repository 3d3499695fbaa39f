"""Activities of the Bot Framework as events: pure, without input or output."""
