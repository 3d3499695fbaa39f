"""Calls of the Bot Connector and of Microsoft Graph, with their credentials."""
