"""The platforms. Each adapter translates between its platform and the engine's values, and decides nothing."""
