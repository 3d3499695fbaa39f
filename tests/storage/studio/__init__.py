"""Sessions of the studio, and links to conversations."""
