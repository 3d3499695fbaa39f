"""Events whose process ended under them: which is to blame, without hurting those that ran beside it."""

import asyncio
from collections.abc import Mapping

from bot.storage.queue.inbox import Claim, Inbox
from bot.worker.job import Job, quietly
from bot.worker.poller import Poller

LATER_S = 2.0
"""After which an event is looked at again that has to run alone while another one does."""


class Suspects:
    """A process that is killed says nothing of why. Each event that it held is a suspect then.

    One that was lost `limit` times is given up, provided that nothing else ran beside it the last time, or
    that it is known to have stalled the loop. Else it runs alone next: once it has the process for itself, it
    either ends or is found guilty. Suspects of a single loss run among others, so that a killed process with
    many answers is not made up for one by one.
    """

    def __init__(self, job: Mapping[str, Job], poller: Poller, attempts: int) -> None:
        self._jobs = job
        self._poller = poller
        self._attempts = attempts
        self._limit = max(2, attempts // 2)
        self._alone: Job | None = None  # who has the process for itself, or waits for that

    def verdict(self, claim: Claim) -> str:
        """Why an event is given up; empty where it is not."""
        if claim.lost >= self._limit and claim.certain:
            return (
                f"The process that worked on it stopped responding or ended abruptly, {claim.lost} times, "
                "the last time because of this event."
            )
        if claim.attempt > self._attempts:
            return "It was tried too often: each attempt ended without a word."
        return ""

    async def admit(self, job: Job) -> bool:
        """Let an event begin, alone where it has to be; False where it has to come again later.

        Raises LeaseLost, StateUnavailable.
        """
        for other in self._others(job):
            if other.alone and not other.ended:
                await other.accompany(alone=False)
        lost = job.claim.lost
        if lost >= self._limit:
            if self._alone is not None:
                return False
            self._alone = job
            self._poller.pause()
            while others := [one.task for one in self._others(job) if one.task is not None]:
                await asyncio.wait(others)
        if lost and not self._others(job):
            await job.accompany(alone=True)
        return True

    def left(self, job: Job) -> None:
        """An event has ended, however it did."""
        if self._alone is job:
            self._alone = None
            self._poller.go_on()

    async def abandon(self, inbox: Inbox, conversation: str) -> None:
        """Give back what is held, by an inbox of another loop: this conversation stalls the process.

        Where none is known to, all stay suspects, as after any other end.
        """
        for job in list(self._jobs.values()) if conversation else ():
            stalled = job.claim.conversation == conversation
            await quietly(inbox.release(job.claim, 0, counted=stalled, stalled=stalled))

    def _others(self, job: Job) -> list[Job]:
        return [one for one in self._jobs.values() if one is not job]
