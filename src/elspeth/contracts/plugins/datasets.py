"""Names datasets as lineage catalogues do.

The names follow the naming rules of OpenLineage (`spec/Naming.md` in its repository): a namespace says where datasets
are, and a name identifies one of them. Other tools give the same name to the same file or table, so that a catalogue
can join their statements about it.
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
"""The namespace of local files."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_SCHEMES: Mapping[str, str] = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
"""The scheme that the rules use, by its other names."""

_SERVERS: Mapping[str, tuple[str, int | None, str | None]] = {
    "postgresql": ("postgres", 5432, "public"),
    "mysql": ("mysql", 3306, None),
    "mariadb": ("mysql", 3306, None),
    "mssql": ("mssql", 1433, "dbo"),
    "oracle": ("oracle", 1521, None),
}
"""The scheme of the namespace, the default port and the default schema, by kind of database server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A file, table or other collection of rows.

    `namespace` says where it is, such as ``file`` or ``postgres://db.example:5432``; `name` is unique there. Neither
    may contain a secret, because both are recorded, exported and sent.
    """

    namespace: str
    name: str


def file_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Return the dataset of a file, or an object's URL.

    User, password and parameters of a URL are left out; the container before the ``@`` of an Azure URL is kept. A
    relative path is resolved against the working directory.
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

    `table` may begin with its schema. The name of a SQLite table includes the file of its database. Returns None for a
    database in memory, which no other program sees.
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
    if not host or host.startswith("/"):  # a local socket
        host = "localhost"
    place = f"[{host}]" if ":" in host else host
    number = url.port or port
    database = url.database or url.username or ""
    named = table if schema is None or "." in table else f"{schema}.{table}"
    return Dataset(
        namespace=f"{scheme}://{place}" + ("" if number is None else f":{number}"),
        name=f"{database}.{named}",
    )
