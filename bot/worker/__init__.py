"""Workers: each takes waiting events, has them answered, and commits the turns."""
