"""Looks at a virtual environment before something is installed: environment.py LOCK ENVIRONMENT

Run by the environment's own Python. Prints the number of packages that the lock adds or changes. Where the
environment can't be repaired by installing, prints the reason instead and exits with 3.
"""

import re
import sys
from importlib import metadata
from pathlib import Path

try:
    from pip._vendor.packaging.markers import Marker
except ImportError:  # made by uv, without pip; uv counts by itself
    Marker = None

PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\]+))?")


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock):
    """The packages that the lock has for this Python: name -> version."""
    found = {}
    for line in Path(lock).read_text(encoding="utf-8").splitlines():
        pin = PIN.match(line)
        if pin and (not pin[3] or Marker is None or Marker(pin[3].strip()).evaluate()):
            found[canonical(pin[1])] = pin[2]
    return found


def damage(distribution):
    """What is missing of an installed package, or None: an interrupted install leaves parts of packages."""
    name = distribution.metadata["Name"]
    if not name:
        return "a package without a name"
    files = distribution.files
    if files is None:
        return name
    for file in files:
        if file.suffix == ".pyc":
            continue
        path = Path(file.locate())
        if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
            return f"{name} ({file})"
    return None


def moved(environment):
    """Whether the programs of this environment start a Python somewhere else: it was moved or copied."""
    expected = str(Path(environment, "bin"))
    for program in Path(sys.prefix, "bin").glob("pip*"):
        start = program.read_bytes()[:1024].decode("utf-8", "replace")
        if "python" in start and expected not in start:
            return True
    return False


def main():
    lock, environment = sys.argv[1:]
    if moved(environment):
        print("was made in another folder")
        return 3
    installed = {}
    for distribution in metadata.distributions(path=[one for one in sys.path if one.startswith(sys.prefix)]):
        if (missing := damage(distribution)) is not None:
            print(f"is damaged: {missing} is incomplete")
            return 3
        installed[canonical(distribution.metadata["Name"])] = distribution.version
    print(sum(installed.get(name) != version for name, version in pins(lock).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
