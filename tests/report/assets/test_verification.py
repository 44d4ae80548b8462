"""The verdicts of the page on bags."""

from __future__ import annotations

from pathlib import Path

from elspeth.evidence.format import bag
from elspeth.evidence.format.certificates import certify
from elspeth.evidence.format.signatures import PRIVATE_KEY, PublicKey, Signer, generate_keys, load_signer
from elspeth.evidence.verifier.procedure import Step
from tests.evidence.bags import make_bag, make_older_bag, records, reseal, rewrite_manifests, to_lines
from tests.evidence.pki import make_root, pem, write
from tests.fixtures.browser import Tab
from tests.report.scripts import Verdict, check_bags


def check(code: Tab, files: dict[str, bytes], key: PublicKey | None) -> Verdict:
    [found] = check_bags(code, files, [files], key)
    return found


def test_records_are_verified_with_the_key(code: Tab, any_signer: Signer, tmp_path: Path) -> None:
    files = make_bag(tmp_path, to_lines(records()), any_signer)
    found = check(code, files, any_signer.public_key)
    assert (found.verdict, found.text) == (
        "signed",
        f"These records are what the key SHA256:{any_signer.public_key.fingerprint} signed.",
    )
    assert [status for status, _ in found.steps.values()] == ["ok"] * 6 + ["not checked here"] * 4


def test_a_bag_with_certificates_is_checked_by_its_key(code: Tab, tmp_path: Path) -> None:
    """Certificates are files like any other here."""
    leaf = make_root().issue("Audit")
    (tmp_path / "bags").mkdir()
    plain = load_signer(str(write(tmp_path / "leaf.key", leaf.private_pem)))
    signer = certify(plain, write(tmp_path / "chain.pem", pem(leaf)))
    files = make_bag(tmp_path / "bags", to_lines(records()), signer)
    assert bag.CERTIFICATES in files
    assert check(code, files, signer.public_key).verdict == "signed"
    replaced = rewrite_manifests({**files, bag.CERTIFICATES: pem(make_root().issue("Boss", key=leaf.key))})
    found = check(code, replaced, signer.public_key)
    assert (found.verdict, found.steps[3][0]) == ("refused", "FAILED")


def test_steps_are_named_as_in_the_procedure(code: Tab) -> None:
    assert code.evaluate("STEPS.map((step) => step.title)") == [step.title for step in Step if step is not Step.VERDICT]


def test_the_documentation_lists_the_checks_of_the_page(code: Tab) -> None:
    steps = code.evaluate("STEPS")
    rows = [
        f"| {number}. {step['title']} | {step['checks']} | {step['leaves']} |\n"
        for number, step in enumerate(steps, start=1)
    ]
    assert "".join(rows) in (Path(__file__).parents[3] / "docs" / "evidence.md").read_text(encoding="utf-8")


def test_bags_of_older_versions_are_checked(code: Tab, signer: Signer, tmp_path: Path) -> None:
    second = make_older_bag(tmp_path, to_lines(records(), salts=True), signer)
    first = reseal(second, signer, version=1)
    without_salts = make_bag(tmp_path, to_lines(records()), signer, secret=None)
    for files in (second, first, without_salts):
        assert check(code, files, signer.public_key).verdict == "signed"


def test_no_signer_is_named_without_signature_or_key(code: Tab, signer: Signer, tmp_path: Path) -> None:
    unsigned = make_bag(tmp_path, to_lines(records()))
    signed = make_bag(tmp_path, to_lines(records()), signer)
    found = check(code, unsigned, None)
    assert (found.verdict, found.steps[2][0]) == ("unsigned", "OPEN")
    found = check(code, signed, None)
    assert (found.verdict, found.steps[2][0]) == ("unchecked", "OPEN")
    found = check(code, unsigned, signer.public_key)
    assert found.verdict == "refused"
    assert found.text.startswith(f"These records are not what the key SHA256:{signer.public_key.fingerprint} signed.")


def test_a_signature_by_another_key_fails(code: Tab, signed: dict[str, bytes], tmp_path: Path) -> None:
    generate_keys(tmp_path)
    other = load_signer(str(tmp_path / PRIVATE_KEY)).public_key
    found = check(code, signed, other)
    assert found.verdict == "refused"
    assert f"expected a signature by the key {other.fingerprint}, got one by" in found.steps[2][1]


def test_the_line_that_was_altered_is_named(code: Tab, signer: Signer, signed: dict[str, bytes]) -> None:
    lines = signed[bag.RECORDS].splitlines(keepends=True)
    altered = [*lines[:4], lines[4].replace(b"run-1", b"run-2"), *lines[5:]]
    found = check(code, {**signed, bag.RECORDS: b"".join(altered)}, signer.public_key)
    assert found.verdict == "refused"
    assert found.steps[6] == (
        "FAILED",
        "data/records.jsonl, line 5: expected the line that was sealed, got another",
    )


def test_lines_too_many_or_too_few_are_found(code: Tab, signer: Signer, signed: dict[str, bytes]) -> None:
    data = signed[bag.RECORDS]
    lines = data.splitlines(keepends=True)
    for changed, step, place in (
        (data + lines[-1], 6, f"line {len(lines) + 1}: expected the line that was sealed"),
        (b"".join(lines[:-1]), 6, "expected the root"),
        (data[:-1], 4, f"line {len(lines)}: expected a line feed at its end"),
    ):
        found = check(code, {**signed, bag.RECORDS: changed}, signer.public_key)
        assert found.verdict == "refused"
        assert place in found.steps[step][1]


def test_a_byte_order_mark_before_the_declaration_is_found(code: Tab, signer: Signer, signed: dict[str, bytes]) -> None:
    """The statement does not name this file."""
    files = rewrite_manifests({**signed, bag.BAGIT: b"\xef\xbb\xbf" + signed[bag.BAGIT]})
    found = check(code, files, signer.public_key)
    assert found.verdict == "refused"
    assert found.steps[1] == ("FAILED", "bagit.txt: expected BagIt 1.0 in UTF-8, got another declaration")
