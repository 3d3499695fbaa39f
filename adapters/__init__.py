"""The platforms: each translates between its own world and the engine's values, and decides nothing."""
