"""The lock files against pyproject.toml, and against what the locked packages themselves require."""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {"requirements.lock": "build", "requirements-dev.lock": "dev", "requirements-docs.lock": "docs"}
DOCS = [str(path) for path in ROOT.glob(".venv-docs/lib/python*/site-packages")]
"""Where the packages of the documentation are, after `make docs`."""
PYTHONS = ["3.11.0", "3.11.2", "3.11.7", "3.12.1", "3.13.0", "3.14.0"]
"""Debian 12 has 3.11.2: some packages require something before 3.11.3 that they don't later."""
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
}

Environment = Mapping[str, str]


@dataclass(frozen=True)
class Pin:
    """A line of a lock."""

    name: str
    extras: frozenset[str]
    version: Version


def environment(python: str, system: str) -> Environment:
    """What markers see there."""
    short = python.rpartition(".")[0]
    return {
        **SYSTEMS[system], "platform_machine": "x86_64",
        "python_version": short, "python_full_version": python, "implementation_version": python,
        "implementation_name": "cpython", "platform_python_implementation": "CPython",
    }  # fmt: skip


ENVIRONMENTS = [environment(python, system) for system in SYSTEMS for python in PYTHONS]


def applies(requirement: Requirement, env: Environment, extras: frozenset[str] = frozenset()) -> bool:
    """Whether a requirement counts there, for somebody who asked for these extras."""
    return requirement.marker is None or any(
        requirement.marker.evaluate({**env, "extra": extra}) for extra in (extras or {""}) | {""}
    )


def pins(lock: str, env: Environment) -> dict[str, Pin]:
    """What the lock installs there, by name."""
    found: dict[str, Pin] = {}
    for line in lock.splitlines():
        if not line or line.startswith((" ", "#")):
            continue
        requirement = Requirement(line.removesuffix("\\").strip())
        if applies(requirement, env):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} is pinned twice for {env['python_full_version']}"
            version = Version(str(requirement.specifier).removeprefix("=="))
            found[name] = Pin(name, frozenset(map(canonicalize_name, requirement.extras)), version)
    return found


def group(name: str) -> Iterator[Requirement]:
    """The requirements of a dependency group, with those of the groups in it."""
    one: Any
    for one in PROJECT["dependency-groups"][name]:
        if isinstance(one, str):
            yield Requirement(one)
        else:
            yield from group(one["include-group"])


def roots(name: str) -> list[Requirement]:
    """What pyproject.toml asks for, of the lock of this name."""
    if name == "requirements-docs.lock":
        return list(group("docs"))
    project = [Requirement(one) for one in PROJECT["project"]["dependencies"]]
    return [*project, *group(LOCKS[name])]


@cache
def installed(name: str) -> dict[str, metadata.Distribution]:
    """What the environment of a lock has, by name."""
    if name != "requirements-docs.lock":
        found = metadata.distributions()
    elif DOCS:
        found = metadata.distributions(path=DOCS)
    else:
        pytest.skip("there is no .venv-docs: make docs")
    return {canonicalize_name(one.metadata["Name"]): one for one in found}


@cache
def needs(pin: Pin, lock: str) -> tuple[Requirement, ...] | None:
    """What a package requires, by its own metadata; None if it is not installed in this version."""
    package = installed(lock).get(pin.name)
    if package is None or Version(package.version) != pin.version:
        return None
    return tuple(Requirement(one) for one in package.requires or ())


def walk(lock: str, locked: Mapping[str, Pin], env: Environment) -> tuple[set[str], set[str], set[str]]:
    """Follow every requirement: what the lock lacks, what is needed, and what could not be looked into."""
    faults: set[str] = set()
    unread: set[str] = set()
    extras: dict[str, frozenset[str]] = {}
    waiting = [(one, "pyproject.toml") for one in roots(lock) if applies(one, env)]
    while waiting:
        requirement, asker = waiting.pop()
        name = canonicalize_name(requirement.name)
        pin = locked.get(name)
        if pin is None:
            faults.add(f"{asker} requires {requirement}, which is not locked")
            continue
        asked = frozenset(map(canonicalize_name, requirement.extras))
        if not requirement.specifier.contains(pin.version, prereleases=True):
            faults.add(f"{asker} requires {requirement}, and {pin.version} is locked")
        if not asked <= pin.extras:
            faults.add(
                f"{asker} requires {requirement}, and the lock has {name} without {asked - pin.extras}"
            )
        if name in extras and asked <= extras[name]:
            continue
        extras[name] = extras.get(name, frozenset()) | asked
        required = needs(pin, lock)
        if required is None:
            unread.add(name)
        else:
            waiting += [(one, name) for one in required if applies(one, env, extras[name])]
    return faults, set(extras), unread


@pytest.mark.parametrize(
    "env", ENVIRONMENTS, ids=lambda env: f"{env['sys_platform']}-{env['python_full_version']}"
)
@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_satisfies_every_requirement_with_its_extras(name: str, env: Environment) -> None:
    """Field fault 95: an extra that is not locked makes old pips resolve again, or is missing at run time."""
    locked = pins((ROOT / name).read_text(encoding="utf-8"), env)
    faults, needed, unread = walk(name, locked, env)
    assert faults == set()
    assert set(locked) == needed, "pinned, but required by nothing"
    # What markers keep out of this environment has no metadata here: nothing but these small packages.
    there = set(installed(name))
    assert unread - there <= {"async-timeout", "uvloop"}
    assert unread & there <= {"soupsieve", "pymdown-extensions"}, "another version is installed: make venv"


@pytest.mark.parametrize("name", LOCKS)
def test_a_package_missing_from_the_lock_is_reported(name: str) -> None:
    """Field fault 95: the check itself sees each package that goes missing."""
    env = ENVIRONMENTS[2]
    locked = pins((ROOT / name).read_text(encoding="utf-8"), env)
    for left_out in locked:
        rest = {one: pin for one, pin in locked.items() if one != left_out}
        assert walk(name, rest, env)[0], left_out


def test_an_extra_missing_from_the_lock_is_reported() -> None:
    """Field fault 95: msal -> PyJWT[crypto], and the like."""
    env = ENVIRONMENTS[2]
    locked = pins((ROOT / "requirements-dev.lock").read_text(encoding="utf-8"), env)
    extras = [(pin, extra) for pin in locked.values() for extra in pin.extras]
    assert {"pyjwt", "coverage"} <= {pin.name for pin, _ in extras}
    for pin, extra in extras:
        poorer = Pin(pin.name, pin.extras - {extra}, pin.version)
        faults = walk("requirements-dev.lock", {**locked, pin.name: poorer}, env)[0]
        assert faults, f"{pin.name}[{extra}]"


def test_the_development_lock_holds_the_other_one() -> None:
    """Field fault 95: `make run` after `make test` has nothing to do, because both pin the same."""
    run, dev = ((ROOT / name).read_text(encoding="utf-8") for name in list(LOCKS)[:2])
    wanted, there = _hashes(run), _hashes(dev)
    assert len(wanted) > 80
    assert {name: there.get(name) for name in wanted} == wanted


def test_the_javascript_lock_is_pinned_without_hosts() -> None:
    folder = ROOT / ".ci" / "javascript"
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    locked: dict[str, Any] = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))[
        "packages"
    ]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all("resolved" not in one and (not name or "integrity" in one) for name, one in locked.items())


def _hashes(lock: str) -> dict[tuple[str, str], set[str]]:
    """The hashes of each pinned version, extras aside."""
    found: dict[tuple[str, str], set[str]] = {}
    for name, version, rest in re.findall(
        r"^([a-z0-9-]+)(?:\[[^]]*\])?==(\S+)[^\n]*\n((?: .*\n)*)", lock, re.MULTILINE
    ):
        found[name, version] = set(re.findall(r"sha256:\w+", rest))
    return found
