"""Imports a function, and identifies the imported source."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Annotated

from pydantic import StringConstraints

__all__ = ["FunctionError", "FunctionPath", "LoadedFunction", "load_function"]

_NO_RESULT = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
"""The flags of functions whose result must be awaited or iterated over."""

FunctionPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]
"""The path of a function: `package.module:function`."""


class FunctionError(ValueError):
    """A function cannot be used.

    The message names the function, and says what to do.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedFunction:
    """An imported function.

    `sha256` is the hash of its module's source, in hex. `version` is the version of the module or its package, if any.
    """

    path: str
    function: Callable[..., object]
    sha256: str
    version: str | None

    def describe(self) -> dict[str, object]:
        """Return the description of the function to record."""
        version = {} if self.version is None else {"version": self.version}
        return {"function": self.path, "sha256": self.sha256, **version}


def load_function(path: str, directory: str | None) -> LoadedFunction:
    """Import the function of a path.

    The module is found on the search path. If a directory is given, it is added at the end of the path, and the module
    must be in it.

    Raises FunctionError if the function cannot be imported.
    """
    module_name, _, name = path.partition(":")
    if directory is not None:
        _add_to_search_path(path, directory)
    try:
        module = _import_module(module_name)
    except (Exception, SystemExit) as error:  # importing a module may raise anything
        raise FunctionError(f"function {path!r}: {_import_problem(error, module_name, directory)}") from error
    if directory is not None and Path(directory).resolve() not in _source_file(path, module).parents:
        raise FunctionError(
            f"function {path!r}: the module {module_name!r} of this process is {module.__file__}, not one in "
            f"{directory}: give yours another name"
        )
    function = getattr(module, name, None)
    if not isinstance(function, FunctionType):
        what = "is missing" if function is None else f"is {type(function).__name__}, not a function written in Python"
        known = sorted(name for name, value in vars(module).items() if _is_public_function(value, module_name))
        raise FunctionError(f"function {path!r}: {name!r} {what}; the functions of the module: {', '.join(known)}")
    if function.__module__ != module_name:
        raise FunctionError(f"function {path!r} is another module's: expected '{function.__module__}:{name}'")
    if any(is_kind(function) for is_kind in _NO_RESULT):
        raise FunctionError(f"function {path!r}: expected one that returns its result, got a coroutine or generator")
    return LoadedFunction(
        path=path, function=function, sha256=_source_hash(path, module), version=_find_version(module)
    )


class _HashingLoader(SourceFileLoader):
    """Executes the source whose hash it keeps, never cached bytecode.

    Python considers a cache valid if it has the time and size of the source. After a quick edit, it could execute other
    code than the hash describes.
    """

    sha256 = ""

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module."""
        source = self.get_data(self.get_filename(fullname))
        self.sha256 = hashlib.sha256(source).hexdigest()
        return self.source_to_code(source, self.path)


def _import_module(name: str) -> ModuleType:
    """Return a module, imported again if its source has changed.

    Only modules that were imported here are imported again, because other code may hold objects of any other module.
    """
    known = sys.modules.get(name)
    if known is not None and not _is_outdated(known):
        return known
    sys.modules.pop(name, None)
    spec = find_spec(name)  # imports the packages around it
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    if type(spec.loader) is SourceFileLoader:
        spec.loader = _HashingLoader(name, spec.loader.path)
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    parent, _, attribute = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], attribute, module)
    return module


def _is_outdated(module: ModuleType) -> bool:
    loader = module.__spec__.loader if module.__spec__ else None
    if not isinstance(loader, _HashingLoader):
        return False
    try:
        return hashlib.sha256(Path(loader.path).read_bytes()).hexdigest() != loader.sha256
    except OSError:
        return True


def _add_to_search_path(path: str, directory: str) -> None:
    resolved = Path(directory).resolve()
    if not resolved.is_dir():
        raise FunctionError(f"function {path!r}: the directory {directory!r} does not exist")
    if str(resolved) not in sys.path:
        sys.path.append(str(resolved))


def _import_problem(error: BaseException, module_name: str, directory: str | None) -> str:
    """Return why a module cannot be imported."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and f"{module_name}.".startswith(f"{missing}."):
        where = "in the environment: install it, or name its directory with `directory`"
        return f"there is no module {missing!r} {where if directory is None else f'in {directory}'}"
    return f"the module {module_name!r} cannot be imported: {type(error).__name__}: {error}"


def _is_public_function(value: object, module_name: str) -> bool:
    return isinstance(value, FunctionType) and value.__module__ == module_name and not value.__name__.startswith("_")


def _source_file(path: str, module: ModuleType) -> Path:
    if module.__file__ is None:  # a namespace package
        raise FunctionError(f"function {path!r}: {module.__name__!r} is no module with a file")
    return Path(module.__file__).resolve()


def _source_hash(path: str, module: ModuleType) -> str:
    """Return the SHA-256 of the source that was imported.

    For a module that the program had imported itself, this is the hash of its present file.
    """
    loader = module.__spec__.loader if module.__spec__ else None
    if isinstance(loader, _HashingLoader):
        return loader.sha256
    return hashlib.sha256(_source_file(path, module).read_bytes()).hexdigest()


def _find_version(module: ModuleType) -> str | None:
    package = module.__name__.partition(".")[0]
    for each in (module, sys.modules.get(package)):
        version = getattr(each, "__version__", None)
        if isinstance(version, str):
            return version
    from importlib import metadata  # noqa: PLC0415  start time

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
