"""What `make run` and `make test` do first, .ci/install.sh: on new machines, and after something failed."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support import wheels
from tests.support.processes import free_port

ROOT = Path(__file__).parents[2]
BASE = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
NEEDED = ("sh", "cat", "cksum", "grep", "rm", "tee")
"""The programs that the script may use, besides Python and uv."""

pytestmark = pytest.mark.timeout(300)


def script(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@dataclass
class Checkout:
    """A small project with two locks, and a machine of its own: PATH, and no network."""

    folder: Path
    path: Path
    packages: Path
    env: dict[str, str] = field(default_factory=dict[str, str])
    shell: tuple[str, ...] = ("sh",)

    @property
    def python(self) -> Path:
        """The Python that is found on PATH."""
        return self.path / "python3"

    def install(self, lock: str = "requirements.lock", **env: str) -> tuple[int, str]:
        """Run the script: its exit code, and all that a person sees."""
        offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.packages), "PIP_CONFIG_FILE": os.devnull}
        run = subprocess.run(
            [shutil.which(self.shell[0]) or "sh", *self.shell[1:], ".ci/install.sh", lock],
            cwd=self.folder,
            env={
                "PATH": str(self.path), "HOME": str(self.folder.parent), "LANG": "C.UTF-8",
                **offline, **self.env, **env,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )  # fmt: skip
        assert "Traceback" not in run.stdout
        return run.returncode, run.stdout

    def has(self, module: str, environment: str = ".venv") -> bool:
        """Whether the environment can import it."""
        command = [self.folder / environment / "bin/python", "-c", f"import {module}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with pip and nothing else. Most tests copy it, which is quicker than making one."""
    folder = tmp_path_factory.mktemp("empty") / "environment"
    subprocess.run([BASE, "-m", "venv", folder], check=True, capture_output=True)
    for program in folder.glob("bin/pip*"):  # they start the Python of this folder
        program.unlink()
    for record in folder.glob("lib/python*/site-packages/pip-*.dist-info/RECORD"):
        lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
        record.write_text("".join(one for one in lines if "bin/pip" not in one), encoding="utf-8")
    return folder


@pytest.fixture
def checkout(tmp_path: Path, empty: Path) -> Checkout:
    folder, path = tmp_path / "a checkout", tmp_path / "bin"
    (folder / ".ci").mkdir(parents=True)
    path.mkdir()
    for name in ("install.sh", "environment.py"):
        shutil.copy2(ROOT / ".ci" / name, folder / ".ci" / name)
    for name in NEEDED:
        (path / name).symlink_to(shutil.which(name) or name)
    copy = f'"{shutil.which("cp")}" -pR "{empty}" "$3"'  # with its times: compiled files stay valid
    script(path / "python3", f'[ "$1 $2" = "-m venv" ] && exec {copy}\nexec "{BASE}" "$@"')
    (folder / "backend.py").write_text(wheels.BACKEND, encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', encoding="utf-8"
    )
    packages = tmp_path / "packages"
    lock = wheels.wheel(packages, "alpha") + wheels.wheel(packages, "beta")
    lock += "windows==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:" + "0" * 64 + "\n"
    (folder / "requirements.lock").write_text(lock, encoding="utf-8")
    (folder / "requirements-dev.lock").write_text(lock + wheels.wheel(packages, "gamma"), encoding="utf-8")
    return Checkout(folder, path, packages)


@pytest.mark.parametrize("shell", [("sh",), ("dash",), ("bash", "--posix"), ("busybox", "sh")])
def test_each_lock_installs_only_what_is_missing(checkout: Checkout, shell: tuple[str, ...]) -> None:
    """Field fault 95: one lock to run, one to develop; the second adds to the first."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]} on this machine")
    checkout.shell = shell
    if shell == ("sh",):
        script(checkout.python, f'exec "{BASE}" "$@"')
    code, received = checkout.install()
    assert code == 0, received
    assert "Making an environment in .venv" in received
    assert "Installing 2 packages of requirements.lock" in received  # not the one for Windows
    assert (checkout.has("alpha"), checkout.has("beta"), checkout.has("gamma")) == (True, True, False)
    assert checkout.install() == (0, "")
    code, received = checkout.install("requirements-dev.lock")
    assert code == 0, received
    assert "Installing 1 package of requirements-dev.lock" in received
    assert checkout.has("gamma")
    assert checkout.install("requirements-dev.lock") == (0, "")
    assert checkout.install() == (0, "")  # what runs Parley came with it


def test_the_documentation_has_an_environment_of_its_own(checkout: Checkout) -> None:
    """Its packages stay out of .venv, and the checkout is not installed beside them."""
    lock = wheels.wheel(checkout.packages, "generator")
    (checkout.folder / "requirements-docs.lock").write_text(lock, encoding="utf-8")
    (checkout.folder / "backend.py").write_text("raise SystemExit('not here')", encoding="utf-8")
    code, received = checkout.install("requirements-docs.lock")
    assert code == 0, received
    assert "Making an environment in .venv-docs" in received
    assert "Installing 1 package of requirements-docs.lock into .venv-docs" in received
    assert checkout.has("generator", ".venv-docs")
    assert not (checkout.folder / ".venv").exists()
    assert checkout.install("requirements-docs.lock") == (0, "")


def test_a_new_lock_is_installed(checkout: Checkout) -> None:
    """Field fault 95: an environment of yesterday gets today's lock."""
    assert checkout.install()[0] == 0
    with (checkout.folder / "requirements.lock").open("a") as lock:
        lock.write(wheels.wheel(checkout.packages, "delta"))
    code, received = checkout.install()
    assert code == 0, received
    assert "Installing 1 package of requirements.lock" in received
    assert checkout.has("delta")


def python_removed(folder: Path) -> None:
    (folder / ".venv/bin/python").unlink()
    (folder / ".venv/bin/python").symlink_to(folder / "no-such-python")


def python_replaced(folder: Path) -> None:
    (next((folder / ".venv/lib").glob("python3*"))).rename(folder / ".venv/lib/python3.0")


def python_too_old(folder: Path) -> None:
    script(folder / ".venv/bin/python", 'case "$*" in *print*) echo 3.9 ;; *) exit 1 ;; esac')


def made_half(folder: Path) -> None:
    shutil.rmtree(folder / ".venv/bin")


def without_stamps(folder: Path) -> Path:
    for stamp in (".run", ".dev"):
        (folder / ".venv" / stamp).unlink(missing_ok=True)
    return next((folder / ".venv/lib").glob("python3*")) / "site-packages"


def record_missing(folder: Path) -> None:
    (without_stamps(folder) / "alpha-1.0.dist-info/RECORD").unlink()


def file_missing(folder: Path) -> None:
    (without_stamps(folder) / "alpha.py").unlink()


def file_cut_off(folder: Path) -> None:
    (without_stamps(folder) / "alpha.py").write_text("", encoding="utf-8")


def pip_missing(folder: Path) -> None:
    packages = without_stamps(folder)
    for path in [packages / "pip", *packages.glob("pip-*.dist-info")]:
        shutil.rmtree(path)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (python_removed, "does not work any more: its Python was removed or replaced"),
        (python_replaced, "was made with another Python"),
        (python_too_old, "has Python 3.9, and Parley needs 3.11 or newer"),
        (made_half, "is incomplete"),
        (record_missing, "is damaged: alpha is incomplete"),
        (file_missing, "is damaged: alpha"),
        (file_cut_off, "is damaged: alpha"),
        (pip_missing, "has no pip"),
    ],
)
def test_an_environment_that_is_broken_is_made_again(
    checkout: Checkout, harm: Callable[[Path], None], reason: str
) -> None:
    """Field fault 95: an interrupted install, or a Python that was upgraded, mends itself."""
    assert checkout.install()[0] == 0
    harm(checkout.folder)
    code, received = checkout.install()
    assert code == 0, received
    assert f"The environment in .venv {reason}" in received
    assert "It is made again." in received
    assert checkout.has("alpha")
    assert checkout.install() == (0, "")


def test_an_environment_is_not_believed_in_another_folder(checkout: Checkout) -> None:
    """Field fault 95: the programs in a copied .venv would start the Python of the checkout it came from."""
    script(checkout.python, f'exec "{BASE}" "$@"')
    assert checkout.install()[0] == 0
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("elsewhere"))
    code, received = checkout.install()
    assert code == 0, received
    assert "The environment in .venv was made in another folder. It is made again." in received


def test_a_failed_install_goes_on_where_it_stopped(checkout: Checkout) -> None:
    """Field fault 95: without a package index it says what to do; the next try adds what is missing."""
    assert checkout.install()[0] == 0
    away = {"PIP_NO_INDEX": "", "PIP_FIND_LINKS": "", "PIP_RETRIES": "1"}
    away["PIP_INDEX_URL"] = f"http://127.0.0.1:{free_port()}/simple"
    code, received = checkout.install("requirements-dev.lock", **away)
    assert code == 1
    assert "The package index does not answer; trying again" in received
    assert "The package index can't be reached" in received
    assert "PIP_INDEX_URL" in received
    assert "run the same command again" in received
    assert checkout.install(**away) == (0, "")  # Parley can be run, still
    code, received = checkout.install("requirements-dev.lock")
    assert code == 0, received
    assert "Installing 1 package of" in received
    assert "made again" not in received
    assert checkout.has("gamma")


def test_a_package_that_was_tampered_with_is_refused(checkout: Checkout) -> None:
    """Field fault 95: the hashes of the lock count, whatever the index has."""
    lock = checkout.folder / "requirements.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{64}", "sha256:" + "0" * 64, lock.read_text()), encoding="utf-8")
    code, received = checkout.install()
    assert code == 1
    assert "DO NOT MATCH THE HASHES" in received
    assert not checkout.has("alpha")


def test_a_missing_python_is_explained(checkout: Checkout) -> None:
    """Field fault 95: a machine without a Python, or with one that is too old."""
    script(checkout.python, "exit 1")
    code, received = checkout.install()
    assert code == 1
    assert "Parley needs Python 3.11 or newer, and none was found" in received
    assert "apt-get install python3 python3-venv" in received
    code, received = checkout.install(PYTHON="python3")
    assert code == 1
    assert "PYTHON=python3 is no Python 3.11 or newer" in received
    assert not (checkout.folder / ".venv").exists()


def test_a_missing_venv_package_is_named(checkout: Checkout) -> None:
    """Field fault 95: Debian's python3 without python3-venv."""
    real = checkout.python.read_text(encoding="utf-8").removeprefix("#!/bin/sh\n")
    script(checkout.python, f'case "$*" in *ensurepip*) exit 1 ;; esac\n{real}')
    code, received = checkout.install()
    assert code == 1
    assert "sudo apt-get install python3-venv" in received
    assert not (checkout.folder / ".venv").exists()
    script(checkout.path / "python", real)  # another one, later on the list, can
    code, received = checkout.install()
    assert code == 0, received


def test_uv_is_used_where_it_works(checkout: Checkout) -> None:
    """Field fault 95: uv is quick, but settings that only pip has must not be in vain."""
    script(checkout.path / "uv", "exit 127")  # as pyenv leaves behind
    code, received = checkout.install()
    assert code == 0, received
    assert "with pip" in received
    shutil.rmtree(checkout.folder / ".venv")
    script(checkout.path / "uv", '[ "$1" = --version ] || { echo "no such index"; exit 2; }')
    code, received = checkout.install()
    assert code == 0, received
    assert "no such index\nuv could not install them. Trying pip" in received
    assert checkout.has("alpha")


def test_real_uv_makes_the_same_environment(checkout: Checkout) -> None:
    """Field fault 95: uv with the same lock."""
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("there is no uv on this machine")
    script(checkout.path / "uv", f'PATH="{os.environ["PATH"]}" exec "{uv}" --quiet "$@"')
    offline = {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(checkout.packages), "UV_NO_CONFIG": "1"}
    code, received = checkout.install(**offline)
    assert code == 0, received
    assert "with uv" in received
    assert "Trying pip" not in received, received
    assert checkout.has("alpha")
    assert checkout.install("requirements-dev.lock", **offline)[0] == 0
    assert checkout.has("gamma")
    assert checkout.install(**offline) == (0, "")
