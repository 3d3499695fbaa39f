"""The web console: a platform like the others, whose person sits at a page of our own."""

from adapters.studio.adapter import StudioAdapter
from adapters.studio.services import EventStreamPort, HistoryPort, StudioServices

__all__ = ["EventStreamPort", "HistoryPort", "StudioAdapter", "StudioServices"]
