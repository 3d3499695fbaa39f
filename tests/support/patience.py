"""How long tests wait for what they expect."""

PATIENCE_S = 120.0
"""Never a measure of speed: it matters only when something does not come, so a busy machine passes too."""
