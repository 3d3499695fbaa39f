"""The built-in demo model, which needs neither key nor network."""
