"""The OpenAI SDK, without the hundreds of types of its API until one of them is used.

Importing them takes a second of the processor and 20 MB in each process, and Parley sends and reads plain JSON.
Modules of this package import `openai` from here, so that none imports it earlier.
"""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from threading import RLock
from types import ModuleType

_POSTPONED = ("types", "types.chat", "types.responses", "types.shared", "types.shared_params")


class PostponedPackage(ModuleType):
    """A package whose modules can be imported; its own code runs when a name in it is first used."""

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__, self.__loader__, self.__file__ = spec, spec.loader, spec.origin
        self.__package__, self.__path__ = spec.name, spec.submodule_search_locations or []
        self._lock, self._executed = RLock(), False

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        with self._lock:
            if not self._executed:
                self._executed = True
                assert self.__spec__ is not None  # noqa: S101 - given
                assert self.__spec__.loader is not None  # noqa: S101 - that of a file
                self.__spec__.loader.exec_module(self)
        try:
            return vars(self)[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


def _postpone(root: Path) -> None:
    """Put packages of the SDK, which is in the folder `root`, into `sys.modules` without executing them."""
    for name in _POSTPONED:
        folder = root.joinpath(*name.split("."))
        spec = importlib.util.spec_from_file_location(
            f"openai.{name}", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is not None and folder.is_dir():
            sys.modules[spec.name] = package = PostponedPackage(spec)
            parent, _, own = spec.name.rpartition(".")
            if parent in sys.modules:
                setattr(sys.modules[parent], own, package)


_found = importlib.util.find_spec("openai")
if "openai" not in sys.modules and _found is not None and _found.origin is not None:
    _postpone(Path(_found.origin).parent)

import openai  # noqa: E402

__all__ = ["PostponedPackage", "openai"]
