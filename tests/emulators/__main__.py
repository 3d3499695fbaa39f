"""Drives Parley through third-party emulators: `python -m tests.emulators [slack] [teams] [azure]`.

Without PARLEY_NAMESPACE it installs them and starts itself again where the network is loopback only.
"""

import asyncio
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("slack", "teams", "azure")


def main(names: list[str]) -> int:
    """The exit code: 0 when every emulator saw what it should."""
    unknown = set(names) - set(NAMES)
    if unknown:
        print(
            f"No such emulator: {', '.join(sorted(unknown))}. There are: {', '.join(NAMES)}.", file=sys.stderr
        )
        return 2
    if not os.environ.get("PARLEY_NAMESPACE"):
        return _inside(names)
    if len(names) == 1:
        asyncio.run(importlib.import_module(f"tests.emulators.{names[0]}").run())
        return 0
    return _each(names or list(NAMES))


def _inside(names: list[str]) -> int:
    installed = subprocess.run([HERE / "install.sh"], stdout=subprocess.PIPE, text=True, check=False)
    if installed.returncode:
        return installed.returncode
    command = [HERE / "namespace.sh", sys.executable, "-m", "tests.emulators", *names]
    environment = {**os.environ, "PARLEY_EMULATORS": installed.stdout.strip()}
    return subprocess.run(command, env=environment, check=False).returncode


def _each(names: list[str]) -> int:
    """Each in a process of its own, so that what one leaves behind disturbs no other."""
    results: list[str] = []
    failed = False
    for name in names:
        print(f"=== {name}", flush=True)
        began = time.monotonic()
        code = subprocess.run([sys.executable, "-m", "tests.emulators", name], check=False).returncode
        failed = failed or bool(code)
        results.append(f"{'failed' if code else 'ok':<7} {name:<6} {time.monotonic() - began:5.1f} s")
    print("===", *results, sep="\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
