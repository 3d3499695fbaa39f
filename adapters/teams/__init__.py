"""Microsoft Teams, by the Bot Framework."""

from adapters.teams.adapter import TeamsAdapter
from adapters.teams.cloud import Cloud

__all__ = ["Cloud", "TeamsAdapter"]
