"""The playground: a configuration is edited, tried, saved and shared."""
