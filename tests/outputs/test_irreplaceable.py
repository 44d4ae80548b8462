"""Files that no output replaces, not even by force."""

from __future__ import annotations

import io
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)

from elspeth.outputs.irreplaceable import content_problem
from elspeth.outputs.policy import Kind, OutputPolicy, problem_with

OBJECTION = "is somebody's file"
RUN = "0123456789abcdef0123456789abcdef"


def ours(_: Path) -> None:
    """Treat every file as an earlier output."""


FORCED = OutputPolicy(kind=Kind.FILE, objection=lambda _: OBJECTION, force=True)
UNFORCED = OutputPolicy(kind=Kind.FILE, objection=ours)


def not_forced(what: str) -> str:
    return f"is {what}, which --force does not replace: move it away"


@pytest.fixture
def crashed(tmp_path: Path) -> Path:
    """Copy a database and its write-ahead log while open."""
    database = tmp_path / "open" / "x.db"
    database.parent.mkdir()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
        shutil.copytree(database.parent, tmp_path / "crashed")
    connection.close()
    return tmp_path / "crashed" / "x.db"


@pytest.mark.parametrize("policy", [FORCED, UNFORCED])
@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("content", [b"content", b"", None])
def test_the_files_of_a_sqlite_database_are_not_written(
    crashed: Path, policy: OutputPolicy, suffix: str, content: bytes | None
) -> None:
    path = crashed.with_name(f"x.db{suffix}")
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    expected = f"belongs to the SQLite database {crashed}, which alone writes it: name another path"
    assert problem_with(path, policy) == expected
    link = crashed.with_name("link")
    link.symlink_to(crashed)
    assert problem_with(crashed.with_name(f"link{suffix}"), policy) == (
        f"belongs to the SQLite database {crashed.with_name('link')}, which alone writes it: name another path"
    )
    if content is not None:
        (crashed.parent / "out").symlink_to(path)
        assert problem_with(crashed.parent / "out", policy) == expected


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_similar_names_beside_other_files_are_allowed(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "notes").write_bytes(b"content")
    for name in ("notes", "nothing", ""):
        assert problem_with(tmp_path / f"{name}{suffix}", FORCED) is None
        (tmp_path / f"{name}{suffix}").write_bytes(b"content")
        assert problem_with(tmp_path / f"{name}{suffix}", FORCED) is None


def test_force_does_not_replace_a_log_without_its_database(crashed: Path, tmp_path: Path) -> None:
    crashed.with_name("x.db-wal").rename(tmp_path / "rescued")
    assert problem_with(tmp_path / "rescued", FORCED) == not_forced("the write-ahead log of a SQLite database")


def test_force_does_not_replace_a_journal_without_its_database(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")  # pages go to the file before the commit, so the journal goes first
    connection.execute("CREATE TABLE t (a)")
    connection.execute("INSERT INTO t VALUES (randomblob(100000))")
    connection.execute("BEGIN")
    connection.execute("UPDATE t SET a = randomblob(100000)")
    shutil.copy(tmp_path / "x.db-journal", tmp_path / "rescued")
    connection.close()
    assert problem_with(tmp_path / "rescued", FORCED) == not_forced("the journal of a SQLite database")


@pytest.mark.parametrize("policy", [FORCED, UNFORCED])
@pytest.mark.parametrize("content", [b"content", b""])
def test_the_unfinished_output_of_a_run_is_not_replaced(tmp_path: Path, policy: OutputPolicy, content: bytes) -> None:
    path = tmp_path / f".out.csv.{RUN}.partial"
    path.write_bytes(content)
    expected = "is the unfinished output of a run, which no other output may touch: name another path"
    assert problem_with(path, policy) == expected
    (tmp_path / "link").symlink_to(path)
    assert problem_with(tmp_path / "link", policy) == expected


def zipped(name: str) -> bytes:
    """Return a zip file with one member."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, b"content")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"SQLite format 3\0" + bytes(100), "a SQLite database"),
        (zipped("bag/bag-info.txt"), "a bag"),
        (b"# ours\n'sinks': {}\ndatasource: {plugin: csv}\n", "a settings file"),
        (b'{"datasource": {"plugin": "csv"}, "sinks": {}}', "a settings file"),
        (b"sources: {}\nsinks: {}\n", "a settings file"),
        ("# für die Prüfung\nsources: {}\nsinks: {}\n".encode(), "a settings file"),
        (b"source: {}\nsinks: {}\n", "a settings file"),
        (b"# a long comment\n" * 2_000 + b"source: {}\nsinks: {}\n", "a settings file"),
    ],
)
def test_force_does_not_replace_irreplaceable_files(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "out").write_bytes(content)
    assert problem_with(tmp_path / "out", OutputPolicy(kind=Kind.FILE, objection=lambda _: OBJECTION)) == OBJECTION
    assert problem_with(tmp_path / "out", FORCED) == not_forced(what)


KEYS: dict[str, PrivateKeyTypes] = {
    "ecdsa": ec.generate_private_key(ec.SECP256R1()),
    "another curve": ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "x25519": x25519.X25519PrivateKey.generate(),
}
NO_PASSWORD, PASSWORD = NoEncryption(), BestAvailableEncryption(b"secret")


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("encryption", [NO_PASSWORD, PASSWORD], ids=["open", "encrypted"])
@pytest.mark.parametrize("name", KEYS)
def test_force_does_not_replace_a_private_key(
    tmp_path: Path, name: str, encoding: Encoding, encryption: KeySerializationEncryption
) -> None:
    (tmp_path / "out").write_bytes(KEYS[name].private_bytes(encoding, PrivateFormat.PKCS8, encryption))
    assert problem_with(tmp_path / "out", FORCED) == not_forced("a key")


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("name", KEYS)
def test_force_does_not_replace_a_public_key(tmp_path: Path, name: str, encoding: Encoding) -> None:
    public = KEYS[name].public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "out").write_bytes(public)
    assert problem_with(tmp_path / "out", FORCED) == not_forced("a key")


def test_force_does_not_replace_keys_in_their_older_forms(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    store = pkcs12.serialize_key_and_certificates(b"name", key, None, None, PASSWORD)
    for content in (
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NO_PASSWORD),
        key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NO_PASSWORD),
        key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NO_PASSWORD),
        b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n",
        store,
    ):
        (tmp_path / "out").write_bytes(content)
        assert problem_with(tmp_path / "out", FORCED) == not_forced("a key")


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
def test_force_does_not_replace_keys_of_an_unknown_kind(tmp_path: Path, encoding: Encoding) -> None:
    key = KEYS["ed25519"]
    private = key.private_bytes(encoding, PrivateFormat.PKCS8, NO_PASSWORD)
    public = key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    for content in (private, public):
        (tmp_path / "out").write_bytes(content.replace(b"\x06\x03\x2b\x65\x70", b"\x06\x03\x2b\x65\x7f"))
        assert problem_with(tmp_path / "out", FORCED) == not_forced("a key")


def test_a_key_is_searched_for_in_the_first_16_kib(tmp_path: Path) -> None:
    pem = b"-----BEGIN PRIVATE KEY-----"
    store = pkcs12.serialize_key_and_certificates(
        b"name", ec.generate_private_key(ec.SECP256R1()), None, None, PASSWORD
    )
    for size, problem in ((16 * 1024, not_forced("a key")), (16 * 1024 + 1, None)):
        for content in (pem.rjust(size), store.ljust(size, b"\0")):
            (tmp_path / "out").write_bytes(content)
            assert problem_with(tmp_path / "out", FORCED) == problem, (size, content[:1])


def test_an_unreadable_file_is_not_replaced(tmp_path: Path) -> None:
    assert content_problem(tmp_path / "gone") == "cannot be read: No such file or directory"


@pytest.mark.parametrize(
    "before",
    [
        b"\n\n",
        b"\xef\xbb\xbf",
        b"\r\n  ",
        b"Bag Attributes\n    localKeyID: 01 \nKey Attributes: <No Attributes>\n" * 20,
        b'{"type": "service_account", "private_key": "',
    ],
)
def test_force_does_not_replace_a_key_after_other_text(tmp_path: Path, before: bytes) -> None:
    pem = KEYS["ecdsa"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NO_PASSWORD)
    (tmp_path / "out").write_bytes(before + pem)
    assert problem_with(tmp_path / "out", FORCED) == not_forced("a key")


@pytest.mark.parametrize(
    "content", [zipped("sheet.xml"), b"0,1\n", b"0\x82\x01\x00content", b"-----BEGIN CERTIFICATE-----"]
)
def test_force_replaces_files_that_only_resemble_keys_or_bags(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out").write_bytes(content)
    assert problem_with(tmp_path / "out", FORCED) is None


@pytest.mark.parametrize(
    "content",
    [
        b"sinks: {}\n",  # no source
        b"notes:\n  datasource: a\n  sinks: b\n",  # not at the top
        b"datasource sinks",  # text
        b"datasource: [sinks\n",  # not YAML
        b"datasource: 1\nsinks: 2\n\xff",  # not text
        b"datasource: 1\n---\nsinks: 2\n",  # several documents
        b"[datasource, sinks]: " + b"[" * 5000,  # nested too deeply
        b"{datasource: 1, sinks: 2, x: 2026-99-99}",  # not a date
        b"datasource: 1\nsinks: 2\n" + b"#" * (1 << 20),  # larger than settings are
    ],
)
def test_force_replaces_files_that_only_resemble_settings(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out").write_bytes(content)
    assert problem_with(tmp_path / "out", FORCED) is None
