"""Who may use the studio, and as whom."""
