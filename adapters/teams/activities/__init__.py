"""Activities of the Bot Framework as events. Pure functions."""
