"""Microsoft Teams, through the Bot Framework."""

from adapters.teams.adapter import TeamsAdapter
from adapters.teams.api.credentials import Credentials
from adapters.teams.cloud import Cloud

__all__ = ["Cloud", "Credentials", "TeamsAdapter"]
