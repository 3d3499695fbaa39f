"""The only package that speaks to models; outside it a model is one protocol."""
