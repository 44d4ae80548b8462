"""Datasets by the names under which lineage catalogues know them.

The names follow the naming rules of OpenLineage (`spec/Naming.md` in its repository): a namespace says where datasets
are, and a name which of them it is. Other tools name the same file or table in the same way, so that a catalogue joins
what they say about it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from sqlalchemy import URL

__all__ = ["Dataset", "file_dataset", "table_dataset"]

_FILES = "file"
"""The namespace of files of this machine."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SCHEMES: Mapping[str, str] = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
"""Schemes that are other names of the one that the rules know."""

_SERVERS: Mapping[str, tuple[str, int | None, str | None]] = {
    "postgresql": ("postgres", 5432, "public"),
    "mysql": ("mysql", 3306, None),
    "mariadb": ("mysql", 3306, None),
    "mssql": ("mssql", 1433, "dbo"),
    "oracle": ("oracle", 1521, None),
}
"""Scheme of the namespace, usual port and usual schema by the kind of a database server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A file, table or other collection of rows.

    `namespace` says where it is, such as ``file`` or ``postgres://db.example:5432``; `name` is unique there. Neither
    holds a secret: both are recorded, exported and sent.
    """

    namespace: str
    name: str


def file_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Return the dataset of a file, or an object's URL.

    User, password and parameters of a URL are left out; the container before the ``@`` of Azure's is kept. A relative
    path begins in the working directory.
    """
    text = os.fspath(path)
    if not _URL.match(text):
        return Dataset(namespace=_FILES, name=os.path.abspath(text))  # noqa: PTH100  keeps links, as settings name them
    parts = urlsplit(text)
    scheme = _SCHEMES.get(parts.scheme, parts.scheme)
    if scheme == _FILES:
        return Dataset(namespace=_FILES, name=parts.path)
    is_container = scheme.startswith(("abfs", "wasb")) and parts.password is None
    host = parts.netloc if is_container else parts.netloc.rpartition("@")[2]
    return Dataset(namespace=f"{scheme}://{host}", name=parts.path.strip("/") or "/")


def table_dataset(url: URL, table: str) -> Dataset | None:
    """Return the dataset of a table.

    `table` may begin with its schema. A table of SQLite is named by the file of its database. None for a database in
    memory, which nobody else sees.
    """
    backend = url.get_backend_name()
    if backend == "sqlite":
        file = (url.database or "").removeprefix("file:")
        if file in {"", ":memory:"} or url.query.get("mode") == "memory":
            return None
        return Dataset(namespace=_FILES, name=f"{os.path.abspath(file)}#{table}")  # noqa: PTH100  keeps links
    scheme, port, schema = _SERVERS.get(backend, (backend, None, None))
    parameter = url.query.get("host")
    host = url.host or (parameter if isinstance(parameter, str) else None)
    if not host or host.startswith("/"):  # a socket of this machine
        host = "localhost"
    place = f"[{host}]" if ":" in host else host
    number = url.port or port
    database = url.database or url.username or ""
    named = table if schema is None or "." in table else f"{schema}.{table}"
    return Dataset(
        namespace=f"{scheme}://{place}" + ("" if number is None else f":{number}"),
        name=f"{database}.{named}",
    )
