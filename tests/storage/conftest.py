"""Every test of the state runs twice: on one server, and on a cluster of three."""

import pytest


@pytest.fixture(params=["server", "cluster"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """Where the `redis` of a test is."""
    url: str = request.getfixturevalue(f"redis_{request.param}")
    return url
