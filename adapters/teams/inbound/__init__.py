"""What comes in from Teams: verified, stored, acknowledged."""
