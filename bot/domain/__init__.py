"""The values that travel through the house: frozen, keyword-only, serialised as JSON by msgspec.

Times are aware and in UTC, names carry their units, and an unknown amount is `None`, never 0.
"""
