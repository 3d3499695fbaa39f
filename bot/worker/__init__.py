"""Workers claim pending events, answer them and commit the turns."""
