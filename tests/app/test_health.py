"""Health and metrics of web and worker processes, and the backlog for autoscaling."""

import sys
from pathlib import Path

import aiohttp

from bot.storage.queue.inbox import Inbox
from bot.storage.redis.client import Redis
from tests.support import processes
from tests.support.acts import received
from tests.support.servers import Server, running

COUNT = "parley_backlog_conversations"


def value(metrics: str, name: str) -> float:
    (line,) = (line for line in metrics.splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


async def test_a_worker_has_its_own_health_port(tmp_path: Path) -> None:
    """Liveness, readiness and metrics of `parley worker`; without Redis it is alive but not ready."""
    server = Server(tmp_path / "redis")
    port = processes.free_port()
    settings = {
        "REDIS_URL": server.url,
        "PARLEY_WORKER_PORT": str(port),
        "PARLEY_DATA_DIR": str(tmp_path / "data"),
    }
    at = f"http://127.0.0.1:{port}"
    with running(server):
        async with (
            processes.run([sys.executable, "-m", "bot", "worker"], settings),
            aiohttp.ClientSession() as session,
        ):
            await processes.listening(port, timeout_s=120)
            for path in ("/healthz", "/readyz", "/metrics"):
                async with session.get(f"{at}{path}") as answer:
                    assert answer.status == 200, path
            async with session.get(f"{at}/metrics") as answer:
                assert value(await answer.text(), COUNT) == 0
            async with session.get(f"{at}/") as answer:
                assert answer.status == 404, "a worker has no studio"
            server.stop()
            async with session.get(f"{at}/readyz") as answer:
                assert answer.status == 503
            async with session.get(f"{at}/healthz") as answer:
                assert answer.status == 200
            async with session.get(f"{at}/metrics") as answer:
                assert value(await answer.text(), COUNT) != value(await answer.text(), COUNT), "NaN"
            server.start()


async def test_the_web_process_reports_the_backlog(tmp_path: Path) -> None:
    """`parley web` has no worker: accepted events stay in the backlog, which its metrics show."""
    server = Server(tmp_path / "redis")
    port = processes.free_port()
    settings = {"REDIS_URL": server.url, "PORT": str(port), "PARLEY_DATA_DIR": str(tmp_path / "data")}
    with running(server):
        async with (
            processes.run([sys.executable, "-m", "bot", "web"], settings),
            aiohttp.ClientSession() as session,
        ):
            await processes.listening(port, timeout_s=120)
            redis = Redis(server.url)
            inbox = Inbox(redis, lease_s=30, limit=3, retention_s=60)
            for number in range(3):
                await inbox.accept(received(event=f"e{number}", conversation=f"test:{number}"))
            await redis.close()
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert value(await answer.text(), COUNT) == 3
