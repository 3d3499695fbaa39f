"""The web console: a platform like the others, whose person sits at a page of our own."""

from adapters.studio.adapter import StudioAdapter
from adapters.studio.services import StudioServices

__all__ = ["StudioAdapter", "StudioServices"]
