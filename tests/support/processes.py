"""Real processes for tests and benchmarks: started with an environment, watched, always ended."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from tests.support.patience import PATIENCE_S
from tests.support.servers import free_port as free_port

Process = asyncio.subprocess.Process

_KEPT = ("PATH", "PYTHONPATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")


async def listening(port: int, timeout_s: float = PATIENCE_S) -> None:
    """Wait until something listens on this port. Raises TimeoutError, in words."""
    give_up_at = time.monotonic() + timeout_s
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            if time.monotonic() > give_up_at:
                why = "the machine is too busy, or what should listen there ended: its log tells"
                raise TimeoutError(
                    f"Nothing listens on port {port} after {timeout_s:.0f} s ({why})"
                ) from error
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def start(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    core: int | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
) -> Process:
    """Start a program that sees nothing of this environment but the way to its programs."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    taskset = shutil.which("taskset")
    pinned = [taskset, "-c", str(core), *command] if core is not None and taskset else list(command)
    return await asyncio.create_subprocess_exec(
        *pinned, env={**kept, **env}, stdin=stdin, stdout=stdout, stderr=stderr
    )


async def end(process: Process, timeout_s: float = PATIENCE_S) -> None:
    """SIGTERM, and SIGKILL for what does not heed it."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), timeout_s)
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def run(
    command: Sequence[str], env: Mapping[str, str], *, core: int | None = None
) -> AsyncGenerator[Process]:
    """A program that runs until the end of the block."""
    process = await start(command, env, core=core)
    try:
        yield process
    finally:
        await end(process)
