"""Values and contracts: frozen, keyword-only structs, serialized as JSON by msgspec.

Times are aware and in UTC, names carry their units, and an unknown amount is `None`, never 0.
"""
