"""The page without data, which checks bags."""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path

import pytest

from elspeth import __version__
from elspeth.evidence.format import bag
from elspeth.evidence.format.signatures import PublicKey, Signer
from elspeth.outputs.policy import OutputRefusedError
from elspeth.report.page import content_policy
from elspeth.report.scripts import read_asset
from elspeth.report.viewer import viewer_page, write_viewer
from tests.evidence.bags import make_bag, records, run_facts, to_lines
from tests.evidence.verifier.test_zip_archive import zipped
from tests.fixtures.browser import Tab
from tests.report.pages import HOSTILE
from tests.report.test_page import Elements

MOST_BYTES = 60 * 1024


@pytest.fixture
def viewer(tab: Tab, key: PublicKey, tmp_path: Path) -> Tab:
    """Open the page, and choose the key."""
    write_viewer(tmp_path / "viewer.html")
    (tmp_path / "key.pem").write_bytes(key.pem)
    tab.open(tmp_path / "viewer.html")
    tab.choose_files("#key", [tmp_path / "key.pem"])
    tab.wait_for("document.querySelector('#fingerprint').textContent")
    return tab


def verdict(viewer: Tab) -> tuple[str, str]:
    """Return kind and text of the verdict of the page."""
    kind = viewer.wait_for("document.body.dataset.verdict")
    return kind, viewer.evaluate("document.querySelector('.verdict').textContent")


def signed_by(key: PublicKey) -> tuple[str, str]:
    return "signed", f"These records are what the key SHA256:{key.fingerprint} signed."


def test_the_page_is_the_same_wherever_it_is_made(tmp_path: Path) -> None:
    digest = write_viewer(tmp_path / "viewer.html")
    assert write_viewer(tmp_path / "viewer.html") == digest
    assert sha256((tmp_path / "viewer.html").read_bytes()).hexdigest() == digest
    assert b"$" not in viewer_page().partition(b"<script")[0]


def test_the_page_has_its_version_and_all_of_its_styles_and_allows_nothing_else(tmp_path: Path) -> None:
    write_viewer(tmp_path / "viewer.html")
    found = Elements(tmp_path / "viewer.html")
    (style,), (code,) = found.of("style"), found.of("script", id="code")
    assert style.strip() == "".join(map(read_asset, ("page.css", "check.css", "viewer.css"))).strip()
    assert content_policy(style, code) in [value for name, value in found.attributes if name == "content"]
    assert __version__ in (tmp_path / "viewer.html").read_text(encoding="utf-8")


def test_only_a_page_that_checks_bags_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "viewer.html"
    for content in (b"precious", b"<!doctype html>\n<title>Another page</title>\n"):
        path.write_bytes(content)
        with pytest.raises(OutputRefusedError) as caught:
            write_viewer(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert path.read_bytes() == content
    digest = write_viewer(path, force=True)
    assert sha256(path.read_bytes()).hexdigest() == digest


def test_the_code_of_the_page_has_at_most_60_kilobytes(tmp_path: Path) -> None:
    write_viewer(tmp_path / "viewer.html")
    [code] = Elements(tmp_path / "viewer.html").of("script", id="code")
    assert len(code.encode()) <= MOST_BYTES


def test_an_archive_is_checked(viewer: Tab, key: PublicKey, signed: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "bag.zip").write_bytes(zipped(signed))
    viewer.choose_files("#archive", [tmp_path / "bag.zip"])
    assert verdict(viewer) == signed_by(key)
    assert viewer.evaluate("document.querySelector('#fingerprint').textContent") == (
        f"ECDSA P-256 key SHA256:{key.fingerprint}"
    )
    assert "Run run-1." in viewer.evaluate("document.querySelector('#result').textContent")
    rows = viewer.evaluate("[...document.querySelectorAll('#steps tr')].map((row) => row.cells[1].textContent)")
    assert rows[6:] == ["not checked here"] * 4
    assert all(row.startswith("ok: ") for row in rows[:6])


def test_keys_and_archives_can_be_dropped(tab: Tab, key: PublicKey, signed: dict[str, bytes], tmp_path: Path) -> None:
    write_viewer(tmp_path / "viewer.html")
    (tmp_path / "key.pem").write_bytes(key.pem)
    (tmp_path / "bag.zip").write_bytes(zipped(signed))
    tab.open(tmp_path / "viewer.html")
    tab.drop_files([tmp_path / "key.pem"])
    tab.wait_for("document.querySelector('#fingerprint').textContent")
    tab.drop_files([tmp_path / "bag.zip"])
    assert verdict(tab) == signed_by(key)


def test_a_folder_dropped_on_a_page_from_disk_must_be_chosen(
    viewer: Tab, signed: dict[str, bytes], tmp_path: Path
) -> None:
    for name, content in signed.items():
        (tmp_path / "bag" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bag" / name).write_bytes(content)
    viewer.drop_files([tmp_path / "bag"])
    assert verdict(viewer) == ("refused", "This browser does not read a dropped folder here: choose it above.")
    viewer.choose_files("#folder", [tmp_path / "bag"])
    viewer.wait_for("document.body.dataset.verdict === 'signed'")


def test_an_altered_archive_is_refused(
    viewer: Tab,
    key: PublicKey,
    signed: dict[str, bytes],
    tmp_path: Path,
) -> None:
    altered = signed[bag.RECORDS].replace(b'"seconds":7', b'"seconds":8')
    (tmp_path / "bag.zip").write_bytes(zipped({**signed, bag.RECORDS: altered}))
    viewer.choose_files("#archive", [tmp_path / "bag.zip"])
    kind, text = verdict(viewer)
    assert kind == "refused"
    assert text.startswith(
        f"These records are not what the key SHA256:{key.fingerprint} signed. data/records.jsonl, line"
    )


def test_many_records_are_hashed_by_several_workers(
    viewer: Tab, signer: Signer, key: PublicKey, tmp_path: Path
) -> None:
    first, *_ = records()
    files = make_bag(tmp_path, to_lines([first] * 3000), signer)
    (tmp_path / "bag.zip").write_bytes(zipped(files))
    viewer.choose_files("#archive", [tmp_path / "bag.zip"])
    assert verdict(viewer) == signed_by(key)
    assert viewer.workers > 1, "one that reads, and those that hash"
    lines = files[bag.RECORDS].splitlines(keepends=True)
    lines[2500] = lines[2500].replace(b"run-1", b"run-2")
    (tmp_path / "altered.zip").write_bytes(zipped({**files, bag.RECORDS: b"".join(lines)}))
    viewer.choose_files("#archive", [tmp_path / "altered.zip"])
    viewer.wait_for("document.body.dataset.verdict === 'refused'")
    assert "data/records.jsonl, line 2501: expected the line that was sealed" in verdict(viewer)[1]


def test_records_with_their_statement_and_salts_are_checked(
    viewer: Tab,
    key: PublicKey,
    signed: dict[str, bytes],
    tmp_path: Path,
) -> None:
    packed = {"records.jsonl.gz": gzip.compress(signed[bag.RECORDS])}
    parts = {Path(name).name: signed[name] for name in (bag.ENVELOPE, bag.SALTS)}
    for name, content in {**packed, **parts}.items():
        (tmp_path / name).write_bytes(content)
    viewer.choose_files("#archive", [tmp_path / name for name in (*packed, *parts)])
    assert verdict(viewer) == signed_by(key)
    rows = viewer.evaluate("[...document.querySelectorAll('#steps tr')].map((row) => row.cells[1].textContent)")
    assert rows[0] == rows[2] == "not checked here: only some files of the bag were given"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"salts.json": b"{}"}, "data/salts.json: expected the SHA-256"),
        ({"records.jsonl": b"{}\n"}, "data/records.jsonl: expected 13 records as in the statement, got 1"),
        ({"records.jsonl": b"{}"}, "data/records.jsonl, line 1: expected a line feed at its end"),
        ({"records.jsonl.gz": gzip.compress(b"{}\n")[:-9]}, "records.jsonl.gz: cannot be read"),
    ],
)
def test_records_that_do_not_fit_are_refused(
    viewer: Tab,
    signed: dict[str, bytes],
    tmp_path: Path,
    change: dict[str, bytes],
    problem: str,
) -> None:
    parts = {Path(name).name: signed[name] for name in (bag.ENVELOPE, bag.SALTS)} | change
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    viewer.choose_files("#archive", [tmp_path / name for name in parts])
    kind, text = verdict(viewer)
    assert kind == "refused"
    assert problem in text


def test_files_without_a_statement_are_refused(viewer: Tab, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(b"{}\n")
    viewer.choose_files("#archive", [tmp_path / "records.jsonl"])
    kind, text = verdict(viewer)
    assert kind == "refused"
    assert text.endswith("without a statement nothing shows what was signed")


def test_a_file_that_is_not_a_public_key_is_refused(viewer: Tab, key_directory: Path) -> None:
    viewer.choose_files("#key", [key_directory / "elspeth.key.pem"])
    shown = viewer.wait_for(
        "document.querySelector('#fingerprint').textContent.includes('expected') && "
        "document.querySelector('#fingerprint').textContent"
    )
    assert shown == ("elspeth.key.pem: expected a public key in PEM: this is a private key, its public half is needed")


def test_names_in_a_hostile_archive_are_shown_as_text(viewer: Tab, tmp_path: Path) -> None:
    data = bytearray(zipped({"bagit.txt": b"x"}))
    hostile = b"bag/<b>.\x1b"  # as long as the name
    hostile += b"x" * (len(b"bag/bagit.txt") - len(hostile))
    (tmp_path / "bag.zip").write_bytes(bytes(data).replace(b"bag/bagit.txt", hostile))
    viewer.choose_files("#archive", [tmp_path / "bag.zip"])
    kind, text = verdict(viewer)
    assert (kind, text) == (
        "refused",
        '"bag/<b>.\\u001bxxxx": expected a name inside the bag, got one that leads elsewhere',
    )


def test_hostile_texts_and_long_lines_are_shown_as_text(
    viewer: Tab, signer: Signer, key: PublicKey, tmp_path: Path
) -> None:
    first, second, *rest = records(HOSTILE)
    lines = to_lines([first, {**second, "note": "x" * 10_000_000}, *rest])
    files = make_bag(tmp_path, lines, signer, run=run_facts(HOSTILE))
    (tmp_path / "bag.zip").write_bytes(zipped(files))
    viewer.choose_files("#archive", [tmp_path / "bag.zip"])
    assert verdict(viewer) == signed_by(key)
    assert viewer.evaluate("document.querySelector('#result code').textContent") == (
        HOSTILE.replace("\u202e", "\\u{202e}").replace("\u0007", "\\u{7}")
    )
    assert viewer.evaluate("document.querySelectorAll('img').length") == 0


def test_everything_can_be_reached_by_keyboard(viewer: Tab) -> None:
    reached = []
    for _ in range(4):
        viewer.press("Tab")
        reached.append(viewer.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached == ["key", "archive", "folder", "table"]


def test_nothing_is_wider_than_a_narrow_screen(
    viewer: Tab, signed: dict[str, bytes], key: PublicKey, tmp_path: Path
) -> None:
    viewer.resize(360, 640)
    (tmp_path / "bag.zip").write_bytes(zipped(signed))
    viewer.choose_files("#archive", [tmp_path / "bag.zip"])
    assert verdict(viewer) == signed_by(key)
    assert viewer.evaluate("document.documentElement.scrollWidth") <= 360
