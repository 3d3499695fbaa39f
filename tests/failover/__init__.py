"""Failovers of Redis under load: masters that are killed, or paused and continued, of sentinels and of a cluster."""
