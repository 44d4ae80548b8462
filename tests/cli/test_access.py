"""How commands open the databases that they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.cli.access import (
    database_url,
    key_passphrase,
    load_signer,
    open_landscape,
    protected_files,
    require_key,
)
from elspeth.cli.failures import UsageError
from elspeth.core.landscape.database import LandscapeDB
from elspeth.evidence.format import certificates, signatures
from elspeth.outputs.policy import Extent


@pytest.mark.parametrize("name", ["50%25.db", "who?.db", "a#b.db", "a b+c.db", "a?mode=ro.db"])
def test_any_file_name_is_accepted_as_that_of_a_database(tmp_path: Path, name: str) -> None:
    LandscapeDB.from_url(f"sqlite:///{tmp_path / 'made.db'}").close()
    (tmp_path / "made.db").rename(tmp_path / name)
    with open_landscape(str(tmp_path / name)) as db, db.connection() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM runs").scalar_one() == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("url", ["sqlite:///50%25.db", "postgresql://u@h/d?sslmode=require"])
def test_a_url_is_left_as_it_is(url: str) -> None:
    assert database_url(url) == url


def test_a_certificate_is_the_public_key_of_a_signer_that_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[object, ...]] = []

    def load(key: str, *, public_key: Path | None, passphrase: object) -> str:
        given.append((key, public_key, passphrase))
        return "signer"

    monkeypatch.setattr(signatures, "load_signer", load)
    monkeypatch.setattr(certificates, "certify", lambda signer, path: f"{signer} certified by {path}")
    assert load_signer(None, None, None) is None
    found = [
        load_signer("uri:", Path("public"), None),
        load_signer("uri:", None, Path("certificate")),
        load_signer("uri:", Path("public"), Path("certificate")),
    ]
    assert list(map(str, found)) == ["signer", "signer certified by certificate", "signer certified by certificate"]
    assert given == [
        ("uri:", Path("public"), key_passphrase),
        ("uri:", Path("certificate"), key_passphrase),
        ("uri:", Path("public"), key_passphrase),
    ]


def test_options_that_describe_a_key_need_one() -> None:
    require_key(has_key=False, has_public=False)
    require_key(has_key=True, has_public=True, has_certificate=True)
    with pytest.raises(UsageError, match=r"^--public: only with --key: it is the other half of that key$"):
        require_key(has_key=False, has_public=True, has_certificate=True)
    with pytest.raises(UsageError, match=r"^--certificate: only with --key: it says whose that key is$"):
        require_key(has_key=False, has_public=False, has_certificate=True)


def test_no_output_may_touch_secrets_the_database_keys_or_the_bag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    found = protected_files(database="audit.db", keys=["key.pem", None, Path("other.pem")], bag=Path("bag"))
    assert [(str(each.path), each.what, each.extent) for each in found] == [
        (".env", "the file .env of secrets", Extent.FILE),
        ("/audit.db", "the audit database", Extent.DATABASE),
        ("key.pem", "a key", Extent.FILE),
        ("other.pem", "a key", Extent.FILE),
        ("bag", "the bag that is read", Extent.TREE),
    ]
    assert [each.what for each in protected_files(database="postgresql://h/d")] == ["the file .env of secrets"]
