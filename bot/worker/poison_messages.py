"""Finds the events that crash or stall worker processes, without penalising others that ran beside them."""

import asyncio
from collections.abc import Mapping

from bot.storage.queue.inbox import Claim, Inbox
from bot.worker.job import Job, best_effort
from bot.worker.poller import Poller

LATER_S = 2.0
"""Delay for an event that must run alone while another one does so."""


class Suspects:
    """Tracks events whose process ended abruptly. Each event that it held is a suspect.

    An event lost `limit` times goes to the dead letters if it ran alone the last time, or if it is known to
    have stalled the event loop. Otherwise it runs alone next, which decides. Events lost only once run with
    others, so that recovery after a killed process with many answers is fast.
    """

    def __init__(self, jobs: Mapping[str, Job], poller: Poller, attempts: int) -> None:
        self._jobs = jobs
        self._poller = poller
        self._attempts = attempts
        self._limit = max(2, attempts // 2)
        self._alone: Job | None = None  # runs alone, or waits for that

    def verdict(self, claim: Claim) -> str:
        """Why an event goes to the dead letters; empty if it does not."""
        if claim.lost >= self._limit and claim.certain:
            return f"Stalled or crashed the worker process {claim.lost} times."
        if claim.counted_attempts > self._attempts:
            return "Failed after several attempts; no error was reported."
        return ""

    async def admit(self, job: Job) -> bool:
        """Let an event begin, if necessary as soon as it can run alone. False: try again later.

        Raises LeaseLost, StateUnavailable.
        """
        for other in self._others(job):
            if other.alone and not other.ended:
                await other.record_alone(alone=False)
        lost = job.claim.lost
        if lost >= self._limit:
            if self._alone is not None:
                return False
            self._alone = job
            self._poller.pause()
            while others := [other.task for other in self._others(job) if other.task is not None]:
                await asyncio.wait(others)
        if lost and not self._others(job):
            await job.record_alone(alone=True)
        return True

    def finished(self, job: Job) -> None:
        """A job has ended, in whatever way."""
        if self._alone is job:
            self._alone = None
            self._poller.resume()

    async def abandon(self, inbox: Inbox, conversation: str) -> None:
        """Release all claims, because `conversation` stalls the process; `inbox` belongs to another event loop.

        If the conversation is unknown (""), nothing is released and all events become suspects.
        """
        for job in list(self._jobs.values()) if conversation else ():
            stalled = job.claim.conversation == conversation
            await best_effort(inbox.release(job.claim, 0, counted=stalled, stalled=stalled))

    def _others(self, job: Job) -> list[Job]:
        return [other for other in self._jobs.values() if other is not job]
