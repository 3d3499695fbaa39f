"""Parley as its users install it: the wheel and the run lock, by the oldest pip, away from the checkout."""

import asyncio
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.support.processes import free_port, listening, run

ROOT = Path(__file__).parents[2]
OLDEST_PIP = "22.3"
"""It runs on Python 3.11. Later Pythons refuse it: there the pip that they ship is the oldest."""
PATIENCE_S = 1800
"""For an install through a slow network on a busy machine."""

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)


@dataclass(frozen=True)
class Installed:
    """An environment with Parley in it, and an empty folder."""

    bin: Path
    folder: Path

    @property
    def env(self) -> dict[str, str]:
        """What a process needs, and no settings."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "PATH": f"{self.bin}{os.pathsep}{os.defpath}"}

    def parley(self, *arguments: str, received: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command in the folder."""
        return subprocess.run(
            [self.bin / "parley", *arguments],
            cwd=self.folder, env=self.env, input=received,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip


def built(target: str, folder: Path, checkout: Path = ROOT) -> Path:
    """A wheel or an sdist of a checkout, without a network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True)
    return next(folder.glob("*.whl" if target == "wheel" else "*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


def pip(python: Path, *arguments: str) -> None:
    """Install something. Without a network there is nothing to see, but CI must not pass unseen."""
    install = subprocess.run(
        [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *arguments],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    if install.returncode == 0:
        return
    received = install.stdout + install.stderr
    if re.search(
        r"Retrying \(|ConnectionError|Max retries exceeded|ReadTimeout", received
    ) and not os.environ.get("CI"):
        pytest.skip("the package index can't be reached")
    pytest.fail(received[-4000:])


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The run lock by the oldest pip in an empty environment, and the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    base = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    subprocess.run([base, "-m", "venv", folder / "environment"], check=True, capture_output=True)
    python = folder / "environment/bin/python"
    if sys.version_info < (3, 12):
        pip(python, f"pip=={OLDEST_PIP}")
    pip(python, "--require-hashes", "--no-deps", "-r", str(ROOT / "requirements.lock"))
    pip(python, "--no-deps", "--no-index", str(wheel))
    (folder / "empty").mkdir()
    return Installed(python.parent, folder / "empty")


def inside(paths: Sequence[str]) -> set[str]:
    """Of the paths in a package, those that Parley needs at run time."""
    return {path for path in paths if path.split("/")[0] in ("bot", "adapters", "prompts")}


def test_the_wheel_holds_everything_and_no_secrets(wheel: Path, tmp_path: Path) -> None:
    """Field fault 95: what is no Python is in the wheel too; the sdist makes the same wheel."""
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "bot", "adapters", "prompts"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert inside(names) == {name for name in tracked if (ROOT / name).is_file()}
    assert {Path(name).suffix for name in names} >= {
        ".py",
        ".lua",
        ".css",
        ".js",
        ".html",
        ".prompty",
        ".jsonl",
        ".yaml",
    }
    assert [name for name in names if ".dist-info/" not in name and name not in inside(names)] == []

    with tarfile.open(built("sdist", tmp_path)) as archive:
        sources = archive.getnames()
        archive.extractall(tmp_path / "sources", filter="data")
    secret = re.compile(r"/(\.env|\.parley|\.venv|\.git|dump\.rdb|secret\.key)(/|$)")
    assert [name for name in [*names, *sources] if secret.search(f"/{name}")] == []
    again = built("wheel", tmp_path / "again", next((tmp_path / "sources").iterdir()))
    with zipfile.ZipFile(again) as archive:
        assert sorted(archive.namelist()) == sorted(names)


@pytest.mark.installs
def test_every_module_imports_without_development_packages(installed: Installed) -> None:
    """Field fault 95: running Parley needs the run lock, and nothing of the other one."""
    code = """
import importlib, pkgutil, sys
import adapters, bot
names = [
    one.name
    for root in (bot, adapters)
    for one in pkgutil.walk_packages(root.__path__, root.__name__ + ".")
]
for name in names:
    importlib.import_module(name)
print(len(names), bot.__file__)
for name in ("pytest", "playwright", "ruff", "pyright"):
    assert importlib.util.find_spec(name) is None, name
"""
    run = subprocess.run(
        [installed.bin / "python", "-I", "-c", code],
        cwd=installed.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    count, where = run.stdout.split(maxsplit=1)
    assert int(count) > 150
    assert str(installed.bin.parent) in where


@pytest.mark.installs
def test_the_commands_work_outside_the_checkout(installed: Installed) -> None:
    """Field fault 95: templates, pages and scripts are found beside the code, not in the folder one is in."""
    helped = installed.parley("--help")
    assert helped.returncode == 0
    assert "serve" in helped.stdout
    listed = installed.parley("prompts", "list")
    assert listed.returncode == 0
    assert "/translate" in listed.stdout
    manifest = installed.parley("manifest", "slack", "--url", "https://bot.example.org")
    assert "https://bot.example.org/slack/events" in manifest.stdout
    checked = installed.parley("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "templates" in checked.stdout
    chat = installed.parley("chat", received="17 * 23\n")
    assert chat.returncode == 0, chat.stderr
    assert "391" in chat.stdout


@pytest.mark.installs
async def test_it_serves_from_an_empty_folder(installed: Installed) -> None:
    """Field fault 95: the lock is all that a running bot needs; its settings are in the folder's .env."""
    port = free_port()
    (installed.folder / ".env").write_text(f"PORT={port}\nPARLEY_DATA_DIR=data\n", encoding="utf-8")
    command = ["/bin/sh", "-c", 'cd "$1" && exec parley serve', "sh", str(installed.folder)]
    async with run(command, installed.env) as process, ClientSession() as web:
        await listening(port, timeout_s=120)
        at = f"http://127.0.0.1:{port}"
        for path in ("/healthz", "/readyz", "/metrics", "/"):
            async with web.get(at + path) as answer:
                assert answer.status == 200, path
                page = await answer.text()
        files = re.findall(r'(?:src|href)="(/studio/static/[^"]+)"', page)
        assert files
        for path in files:
            async with web.get(at + path) as answer:
                assert answer.status == 200, path
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 60) == 0
    assert (installed.folder / "data").is_dir()
