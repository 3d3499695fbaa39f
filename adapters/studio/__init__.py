"""The web console: a platform like the others, whose person sits at a page of our own."""

from adapters.studio.adapter import StudioAdapter
from adapters.studio.services import Feed, History, Office

__all__ = ["Feed", "History", "Office", "StudioAdapter"]
