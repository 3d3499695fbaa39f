"""The playground: a config is edited, tried, compared, saved and published."""
