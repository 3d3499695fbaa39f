"""Processes of Parley, begun quickly: forked from one that has imported everything.

`python -m tests.chaos.nursery` reads lines of JSON. {"id": 1, "env": {}, "argv": ["worker"], "log": "path"}
begins `parley worker`; {"id": 2, "env": {}, "step": "after-close", "signal": 9} begins a doomed worker. It
says of each that it began, was stopped or ended, and by which signal.
"""

import asyncio
import gc
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from signal import Signals
from typing import Any, Literal, NoReturn

import bot.cli.main
from tests.chaos.doomed import Fall, Step, work
from tests.support.patience import PATIENCE_S
from tests.support.processes import end, start

Future = asyncio.Future[int]
It = Literal["began", "stopped", "ended"]


# ------------------------------------------------------------------ who asks


@dataclass
class Child:
    """A process of the nursery's: when it began (its id), and by which signal it stopped and ended."""

    began: Future = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    stopped: Future = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    ended: Future = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def note(self, it: It, number: int) -> None:
        """Take down what became of it; only its first stop counts."""
        future = {"began": self.began, "stopped": self.stopped, "ended": self.ended}[it]
        if not future.done():
            future.set_result(number)

    async def end(self) -> int:
        """Wait until it has ended; by which signal. Raises TimeoutError, in words."""
        await asyncio.wait([self.ended], timeout=PATIENCE_S)
        if not self.ended.done():
            raise TimeoutError(f"A process was asked to end and still runs after {PATIENCE_S:.0f} s")
        return self.ended.result()

    def signal(self, number: Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.began.done() and not self.ended.done():
            with suppress(ProcessLookupError):  # it has ended, and that is not told yet
                os.kill(self.began.result(), number)


class Nursery:
    """Begins processes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._children: list[Child] = []
        self._reading = asyncio.create_task(self._read())

    async def parley(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> Child:
        """Begin a command of `parley`; what it says goes to the log."""
        return await self._begin({"argv": list(argv), "env": dict(env), "log": str(log)})

    async def fall(self, step: Step, number: Signals, env: Mapping[str, str]) -> Child:
        """Begin a worker that is doomed at this step, and wait until it fell there."""
        child = await self._begin({"step": step, "signal": number, "env": dict(env)})
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([child.stopped, child.ended], return_when=asyncio.FIRST_COMPLETED)
        fallen = child.stopped if child.stopped.done() else child.ended
        assert fallen.result() == number
        return child

    async def _begin(self, asked: dict[str, Any]) -> Child:
        assert self._process.stdin is not None
        child = Child()
        self._children.append(child)
        line = json.dumps({"id": len(self._children) - 1, **asked})
        self._process.stdin.write(line.encode() + b"\n")
        # The reader ends with the nursery, which may have failed to import what it forks.
        either = [child.began, self._reading]
        await asyncio.wait(either, timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        if not child.began.done():
            ended = "the nursery ended" if self._reading.done() else f"not within {PATIENCE_S:.0f} s"
            raise TimeoutError(
                f"A process did not begin ({ended}): {asked['log' if 'log' in asked else 'step']}"
            )
        return child

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told: dict[str, Any] = json.loads(line)
            self._children[int(told["id"])].note(told["it"], told["number"])

    async def close(self) -> None:
        """Begin no more, and end what still runs."""
        for child in self._children:
            child.signal(Signals.SIGKILL)
        await asyncio.gather(*(child.ended for child in self._children if child.began.done()))
        await end(self._process)
        self._reading.cancel()


@asynccontextmanager
async def a_nursery() -> AsyncGenerator[Nursery]:
    """A nursery, until the end of the block."""
    pipe = asyncio.subprocess.PIPE
    started = Nursery(await start([sys.executable, "-m", "tests.chaos.nursery"], {}, stdin=pipe, stdout=pipe))
    try:
        yield started
    finally:
        await started.close()


# ------------------------------------------------------------------ who begins


def main() -> NoReturn:
    """Begin a process for every line."""
    import_module("bot.app.server")
    import_module("bot.llm.openai.model")
    gc.freeze()  # the forked share what is there
    os.setpgrp()
    for line in sys.stdin:
        if os.fork() == 0:
            _watch(json.loads(line))
    os.killpg(0, Signals.SIGKILL)  # nobody asks any more: what was begun ends too
    os._exit(0)


def _watch(asked: dict[str, Any]) -> NoReturn:
    """Begin the process from one of its own, which lives to tell."""
    child = os.fork()
    if child == 0:
        os.environ.update(asked["env"])
        _doomed(asked) if "step" in asked else _parley(asked)
        os._exit(0)
    _tell(asked, "began", child)
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            _tell(asked, "ended", -os.waitstatus_to_exitcode(status))
            os._exit(0)
        _tell(asked, "stopped", os.WSTOPSIG(status))


def _tell(asked: dict[str, Any], it: str, number: int) -> None:
    os.write(1, json.dumps({"id": asked["id"], "it": it, "number": number}).encode() + b"\n")


def _doomed(asked: dict[str, Any]) -> None:
    asyncio.run(work(asked["step"], Fall(asked["signal"])))


def _parley(asked: dict[str, Any]) -> None:
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["parley", *asked["argv"]]
    try:
        bot.cli.main.main()
    except SystemExit as error:
        sys.stderr.flush()
        os._exit(error.code if isinstance(error.code, int) else 1)


if __name__ == "__main__":
    main()
