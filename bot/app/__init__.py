"""A process of Parley: its settings, the services that it is made of, and its servers."""
