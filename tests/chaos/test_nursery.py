"""The nursery of chaos: who can't begin there is told of, and not waited for."""

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.chaos import nursery
from tests.support.processes import Process, start


async def test_a_process_that_fails_to_start_is_reported(tmp_path: Path) -> None:
    async def fail(command: list[str], env: dict[str, str], **pipes: Any) -> Process:
        return await start([sys.executable, "-c", "raise SystemExit(1)"], env, **pipes)

    with mock.patch.object(nursery, "start", fail):
        async with nursery.a_nursery() as started:
            with pytest.raises(TimeoutError, match="the nursery ended"):
                await started.parley(["worker"], {}, tmp_path / "worker.log")
