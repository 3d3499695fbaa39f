"""Bot Connector, Microsoft Graph, credentials, file downloads."""
