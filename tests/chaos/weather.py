"""What goes wrong around the bot: the platforms' and the model's own faults."""

import random
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from tests.chaos.senders import Slack, Teams
from tests.simulators.azure import AzureSimulator
from tests.simulators.slack import Fault as SlackFault
from tests.simulators.teams import Fault as TeamsFault

CHUNKS = 12
"""Of an answer of the model, so that a fault can come before, during and after them."""


class Weather:
    """Lets one thing go wrong at a time, and counts by place."""

    def __init__(self, slack: Slack, teams: Teams, azure: AzureSimulator) -> None:
        self.faults: Counter[str] = Counter()
        self._slack, self._teams, self._azure = slack, teams, azure

    def strike(self, chance: random.Random) -> None:
        """Let something go wrong, soon."""
        where = chance.choice((self._slack_fault, self._teams_fault, self._azure_fault))
        self.faults[where(chance)] += 1

    @contextmanager
    def outage(self, chance: random.Random) -> Generator[str]:
        """Let a platform answer everything with 503 until the end of the block. Yields its name."""
        if chance.random() < 0.5:
            fault = SlackFault("*", "500", count=10**9)
            self._slack.faults.insert(0, fault)
            yield "Slack"
            self._slack.faults.remove(fault)
        else:
            teams_fault = TeamsFault(status=503, times=10**9)
            self._teams.faults.insert(0, teams_fault)
            yield "Teams"
            self._teams.faults.remove(teams_fault)

    def _slack_fault(self, chance: random.Random) -> str:
        method = chance.choice(
            (
                "chat.startStream",
                "chat.appendStream",
                "chat.stopStream",
                "chat.update",
                "chat.postMessage",
                "chat.postEphemeral",
                "files.getUploadURLExternal",
                "files.completeUploadExternal",
                "files",
                "*",
            )
        )
        kind = chance.choice(("limited", "error", "500", "drop", "drop_after", "latency"))
        if len(self._slack.faults) < 5:
            self._slack.fault(method, kind, seconds=0.5)
        return "Slack"

    def _teams_fault(self, chance: random.Random) -> str:
        on = chance.choice(("stream", "message", "typing", "put"))
        fault = chance.choice(
            (
                TeamsFault(status=502, on=on),
                TeamsFault(status=503, on=on),
                TeamsFault(status=429, on=on, retry_after="0.5"),
                TeamsFault(drop=True, on=on),
                TeamsFault(drop=True, after=True, on=on),
            )
        )
        if len(self._teams.faults) < 5:
            self._teams.faults.append(fault)
        return "Teams"

    def _azure_fault(self, chance: random.Random) -> str:
        if len(self._azure.faults) > 20:
            self._azure.faults[:] = [fault for fault in self._azure.faults if fault.times]
        when = chance.choice(("before", "during", "after"))
        if when == "before":
            kind = chance.choice(("server_error", "rate_limited"))
            self._azure.fail(kind, retry_after_s=1)
        else:
            kind = chance.choice(("dropped", "malformed", "stream_error"))
            self._azure.fail(kind, after=chance.randrange(1, CHUNKS) if when == "during" else CHUNKS)
        return "Azure OpenAI"
