"""The engine of Parley: it decides what to answer, and never names a platform."""
