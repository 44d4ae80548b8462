"""The verdict of a page on its own records."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.files import write_export
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.landscape.sealing.seal import SEAL_TYPE
from elspeth.evidence.format import bag
from elspeth.evidence.format.envelopes import Envelope
from elspeth.evidence.format.signatures import PublicKey, Signer
from elspeth.report.blocks import packed_text
from elspeth.report.embed import Embed
from elspeth.report.evidence import PageEvidence, read_bag_files, read_seal
from elspeth.report.records import open_database_records, open_export_records
from elspeth.report.writing import check_target, write_report
from elspeth_schema.records import RECORD_TYPES
from tests.evidence.bags import make_bag, records, to_lines
from tests.fixtures.browser import Tab
from tests.fixtures.effort import THOROUGH
from tests.fixtures.landscapes import in_memory
from tests.fixtures.told_run import RUN_ID, record_told_run

BLOCK = re.compile(rb'(?<=<script type="text/plain" class="block">)[^<]*')


@pytest.fixture(scope="module")
def told() -> Iterator[LandscapeDB]:
    with in_memory() as db:
        record_told_run(db)
        yield db


@pytest.fixture(scope="module")
def bag_page(told: LandscapeDB, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page of a signed bag."""
    directory = tmp_path_factory.mktemp("bag")
    write_export(told, RUN_ID, directory / "bag", format=ExportFormat.BAG, signer=signer)
    return page_of(directory / "bag", directory / "page.html", signer.public_key)


def page_of(bag: Path, page: Path, key: PublicKey | None) -> Path:
    """Write the page of a bag."""
    evidence = PageEvidence(files=read_bag_files(bag), key=key)
    with open_export_records(bag) as records:
        write_report(records, page, check_target(page), evidence=evidence)
    return page


def page_of_run(
    db: LandscapeDB, page: Path, key: PublicKey | None, *, embed: Embed | None = None, signer: Signer | None = None
) -> Path:
    """Write the page of a run in a database.

    A signer signs the seal that the page has.
    """
    with open_database_records(db, RUN_ID) as records:
        seal = dict(read_seal(records.connection, RUN_ID) or {})
        if signer is not None:
            seal["envelope"] = Envelope.sign(str(seal["payload"]).encode(), SEAL_TYPE, signer).to_bytes().decode()
        write_report(records, page, check_target(page), embed=embed, evidence=PageEvidence(seal=seal or None, key=key))
    return page


def checked(tab: Tab, page: Path) -> tuple[str, str]:
    """Return kind and text of the verdict of a page."""
    tab.open(page)
    kind = tab.wait_for("document.body.dataset.verdict")
    return kind, tab.evaluate("document.querySelector('.verdict').textContent")


def with_lines(page: Path, target: Path, old: bytes, new: bytes) -> Path:
    """Replace bytes in the records of a page."""

    def changed(block: re.Match[bytes]) -> bytes:
        content = zlib.decompress(base64.b64decode(block[0]))
        assert old in content
        return packed_text(content.replace(old, new, 1)).encode()

    target.write_bytes(BLOCK.sub(changed, page.read_bytes()))
    return target


def test_the_records_of_a_bag_are_verified_with_the_key(tab: Tab, bag_page: Path, key: PublicKey) -> None:
    assert checked(tab, bag_page) == ("signed", f"These records are what the key SHA256:{key.fingerprint} signed.")
    statuses = tab.evaluate(
        "[...document.querySelectorAll('#checked tbody tr')].map((row) => row.cells[1].textContent)"
    )
    assert all(status.startswith("ok: ") for status in statuses[:6])
    assert statuses[6:] == ["not checked here"] * 4


def test_the_altered_line_of_a_page_is_named(tab: Tab, bag_page: Path, key: PublicKey, tmp_path: Path) -> None:
    page = with_lines(bag_page, tmp_path / "page.html", b'"status":"completed"', b'"status":"Completed"')
    kind, text = checked(tab, page)
    assert kind == "refused"
    assert text.startswith(f"These records are not what the key SHA256:{key.fingerprint} signed. ")
    assert text.endswith(" data/records.jsonl, line 1: expected the line that was sealed, got another")


def test_a_page_without_a_key_says_so(tab: Tab, told: LandscapeDB, bag_page: Path, tmp_path: Path) -> None:
    page = page_of(bag_page.parent / "bag", tmp_path / "page.html", None)
    assert checked(tab, page) == (
        "unchecked",
        "These records are what their statement says. Its signature was not checked, as no key was given.",
    )
    write_export(told, RUN_ID, tmp_path / "unsigned", format=ExportFormat.BAG)
    assert checked(tab, page_of(tmp_path / "unsigned", tmp_path / "page.html", None)) == (
        "unsigned",
        "These records are what their statement says. Nobody signed it: anybody could have made both.",
    )


def test_the_records_of_a_database_are_compared_with_the_seal(
    tab: Tab, told: LandscapeDB, signer: Signer, tmp_path: Path
) -> None:
    page, key = tmp_path / "page.html", signer.public_key
    names = (f"{name}.{column}" for name, each in RECORD_TYPES.items() for column in each.lifecycle.afterwards)
    rest = f" Not sealed, as they may still change: {', '.join(sorted(names))}."
    assert checked(tab, page_of_run(told, page, None)) == (
        "unsigned",
        f"These records are what their seal says. Nobody signed it: anybody could have made both.{rest}",
    )
    assert checked(tab, page_of_run(told, page, key, signer=signer)) == (
        "signed",
        f"These records are what the key SHA256:{key.fingerprint} signed.{rest}",
    )
    altered = with_lines(page, page, b'"run_id":"told"', b'"run_id":"tolD"')
    kind, text = checked(tab, altered)
    assert kind == "refused"
    assert "records: expected the root" in text


def test_a_part_of_the_records_cannot_be_checked(tab: Tab, told: LandscapeDB, tmp_path: Path) -> None:
    page = page_of_run(told, tmp_path / "page.html", None, embed=Embed.NONE)
    kind, text = checked(tab, page)
    assert kind == "unchecked"
    assert re.fullmatch(r"This page holds 0 of \d+ records, and only all of them together can be checked\.", text)


def test_records_without_a_seal_cannot_be_checked(tab: Tab, tmp_path: Path) -> None:
    with in_memory() as db:
        record_told_run(db, ended=False)
        page = page_of_run(db, tmp_path / "page.html", None)
    assert checked(tab, page) == (
        "unchecked",
        "This page was made from records that nobody sealed: nothing shows whether they were changed.",
    )


def test_no_change_to_the_records_of_a_page_passes(
    tab: Tab, told: LandscapeDB, bag_page: Path, signer: Signer, tmp_path: Path
) -> None:
    """Change bytes in the page's blocks and ask its worker."""
    sealed = page_of_run(told, tmp_path / "page.html", signer.public_key, signer=signer)
    unsealed = {f"{name}.{column}" for name, each in RECORD_TYPES.items() for column in each.lifecycle.afterwards}
    for page in (bag_page, sealed):
        tab.open(page)
        tab.wait_for("document.body.dataset.verdict === 'signed'")
        step = 7 if THOROUGH else 997
        found = tab.evaluate(
            f"""(async () => {{
              const facts = JSON.parse(document.getElementById("facts").textContent);
              const files = [...document.querySelectorAll("script.file")].map((e) => [e.dataset.name, e.textContent]);
              const content = await new PackedBlock(document.querySelector("script.block").textContent).bytes();
              const pack = async (bytes) => {{
                const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
                return new Uint8Array(await new Response(stream).arrayBuffer()).toBase64();
              }};
              const {{ helper }} = await page;
              const verdicts = [];
              let tried = 0;
              for (let at = 0; at < content.length; at += {step}) {{
                const changed = content.slice();
                changed[at] ^= 1 << at % 7;
                const given = {{ ...facts, pem: facts.key, files, blocks: [await pack(changed)] }};
                const {{ verdict }} = await helper.ask("check", given);
                if (verdict !== "refused") verdicts.push([verdict, new TextDecoder().decode(content), at]);
                tried += 1;
              }}
              return [tried, verdicts];
            }})()""",
            timeout=300,
        )
        tried, passed = found
        assert tried > 5
        for verdict, text, at in passed:
            assert (page, verdict) == (sealed, "signed")
            assert changed_columns(text, at) <= unsealed


def test_many_records_of_a_page_are_hashed_by_several_workers(
    tab: Tab, bag_page: Path, signer: Signer, tmp_path: Path
) -> None:
    """Give the page's worker the records of another bag."""
    first, *_ = records()
    make_bag(tmp_path, to_lines([first] * 3000), signer)
    [directory] = tmp_path.iterdir()
    lines = (directory / bag.RECORDS).read_bytes().splitlines()
    files = [[name, packed_text(content)] for name, content in read_bag_files(directory).items()]
    given = {"files": files, "pem": signer.public_key.pem.decode(), "embedded": len(lines), "total": len(lines)}
    tab.open(bag_page)
    tab.wait_for("document.body.dataset.verdict === 'signed'")
    workers = tab.workers
    for altered, verdict in ((None, "signed"), (2500, "refused")):
        if altered is not None:
            lines[altered] = lines[altered].replace(b"run-1", b"run-2")
        blocks = [packed_text(b"\n".join(lines[:1900])), packed_text(b"\n".join(lines[1900:]))]
        found = tab.evaluate(
            f"""(async () => {{
              const code = await new PackedBlock(document.getElementById("worker").textContent).text();
              const {{ helper }} = await page;
              return helper.ask("check", {{ ...{json.dumps({**given, "blocks": blocks})}, code }});
            }})()"""
        )
        assert found["verdict"] == verdict
    assert "data/records.jsonl, line 2501: expected the line that was sealed, got another" in found["text"]
    assert tab.workers > workers


def changed_columns(text: str, at: int) -> set[str]:
    """Return the columns that a flipped bit changes."""
    content = bytearray(text.encode())
    line = content[:at].count(b"\n")
    before = json.loads(content.split(b"\n")[line])
    content[at] ^= 1 << at % 7
    after = json.loads(content.split(b"\n")[line])
    return {
        f"{before['record_type']}.{name}"
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
