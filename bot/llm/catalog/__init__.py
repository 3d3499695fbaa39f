"""Which deployments there are, what is known of their models, and how they are."""
