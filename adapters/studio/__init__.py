"""The web console: a platform like the others, and the pages that administer Parley."""

from adapters.studio.adapter import StudioAdapter

__all__ = ["StudioAdapter"]
