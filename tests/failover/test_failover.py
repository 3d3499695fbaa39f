"""Masters that are killed or paused under load: nothing acknowledged is lost, and no worker ends."""

import gc
import warnings
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.failover.run import Deed, Run
from tests.failover.systems import by_cluster, by_sentinels

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
async def collected() -> AsyncGenerator[None]:
    """redis-py leaves connections to nodes that are gone to the collector, which complains of them."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.parametrize("deed", ["killed", "paused"])
async def test_a_failover_of_sentinels_loses_nothing(tmp_path: Path, deed: Deed) -> None:
    """Field fault 127: a paused master that goes on after the failover takes no more messages."""
    with by_sentinels(tmp_path) as system:
        outcome = await Run(system, 127, replicas=1).run(deed)
    assert not outcome.lost
    assert not outcome.doubled
    assert not outcome.ended
    assert outcome.streamed, "streams end with the master that they came from"


@pytest.mark.parametrize("deed", ["killed", "paused", "gone"])
async def test_a_failover_of_a_cluster_ends_nothing(tmp_path: Path, deed: Deed) -> None:
    """Field fault 126: errors of the client during a failover do not end a worker."""
    with by_cluster(tmp_path) as system:
        outcome = await Run(system, 126, replicas=1).run(deed)
    assert not outcome.lost
    assert not outcome.doubled
    assert not outcome.ended
    assert outcome.streamed
