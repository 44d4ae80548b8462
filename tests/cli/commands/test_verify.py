"""`elspeth verify`: exit codes, streams and messages."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from elspeth.cli import main
from elspeth.cli.commands import verify
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.format import READABLE, ExportFormat
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.evidence.format import policy as policies
from elspeth.evidence.format import timestamp as timestamps
from elspeth.evidence.format.signatures import PRIVATE_KEY, PUBLIC_KEY, generate_keys, load_public_key, load_signer
from elspeth.evidence.verifier import proof as proofs
from elspeth.evidence.verifier import verify as verifying
from elspeth.evidence.verifier.certificates import CertifiedBy
from elspeth.evidence.verifier.procedure import Verification
from elspeth.evidence.verifier.verify import verify_bag
from elspeth.evidence.writer.bag import write_bag
from elspeth_schema.contracts import RunStatus
from tests.evidence.bags import DOCUMENTS, SECRET, records, run_facts, to_lines
from tests.fixtures.records import record_graph
from tests.fixtures.rich_run import export_to

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to a directory with keys and two bags.

    One bag is signed.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ELSPETH_SIGNING_KEY", raising=False)
    generate_keys(Path("keys"))
    for name, signer in (("signed", load_signer(f"keys/{PRIVATE_KEY}")), ("unsigned.zip", None)):
        archive = name.endswith(".zip")
        write_bag(
            Path(name),
            [to_lines(records())],
            facts=run_facts(),
            documents=DOCUMENTS,
            signer=signer,
            secret=SECRET,
            archive=archive,
        )


def run_verify(capsys: Captured, *arguments: str) -> tuple[int, str, str]:
    """Run `elspeth verify`; return its exit code, output and errors."""
    code = main(["verify", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


KEY = ("--key", f"keys/{PUBLIC_KEY}")


def test_an_intact_bag_is_verified(capsys: Captured) -> None:
    code, out, err = run_verify(capsys, "signed", *KEY)
    assert (code, out) == (0, "")
    lines = err.splitlines()
    assert [line[:29].rstrip() for line in lines] == [
        "1 structure and manifests  ok",
        "2 envelope and signature   ok",
        "3 statement against files  ok",
        "4 lines                    ok",
        "5 counts                   ok",
        "6 Merkle root              ok",
        "7 references               ok",
        "8 lifecycles               ok",
        "9 accounting               ok",
        "10 log of runs             -",
        "11 verdict                 VE",
    ]
    assert lines[10] == "11 verdict                 VERIFIED"


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        (("signed",), "CONSISTENT BUT SIGNATURE NOT CHECKED"),
        (("unsigned.zip",), "CONSISTENT BUT UNSIGNED"),
        (("unsigned.zip", *KEY), "NOT VERIFIED"),
    ],
)
def test_only_full_verification_is_a_success(capsys: Captured, arguments: tuple[str, ...], verdict: str) -> None:
    code, out, err = run_verify(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err.splitlines()[10].split(maxsplit=2)[2] == verdict


def test_an_altered_line_is_named(capsys: Captured) -> None:
    path = Path("signed/data/records.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"seconds":7', b'"seconds":8'))
    code, _, err = run_verify(capsys, "signed", *KEY)
    assert code == 1
    found = next(line for line in err.splitlines() if line.startswith("6 Merkle root"))
    place = "data/records.jsonl, line 5: expected the line that was sealed, with the leaf hash "
    assert found.split(maxsplit=4)[3] == "FAILED"
    assert place in found
    assert err.endswith("11 verdict                 NOT VERIFIED\n")


def test_the_result_can_be_printed_as_json(capsys: Captured) -> None:
    code, out, _ = run_verify(capsys, "signed", *KEY, "--json")
    found = json.loads(out)
    assert (code, found["verdict"], found["run_id"], found["records"]) == (0, "VERIFIED", "run-1", 13)
    assert [step["step"] for step in found["steps"]] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert found["steps"][6] == {
        "step": 7,
        "title": "references",
        "status": "ok",
        "detail": "all lead to records in the bag",
    }


def test_a_missing_path_is_reported(capsys: Captured) -> None:
    assert run_verify(capsys, "gone", *KEY) == (1, "", "error: gone: cannot be read: No such file or directory\n")


def test_an_unusable_key_is_refused(capsys: Captured) -> None:
    code, out, err = run_verify(capsys, "signed", "--key", "signed/bagit.txt")
    assert (code, out, err) == (2, "", "error: signed/bagit.txt: expected a public key in PEM\n")


def test_two_kinds_of_signature_contradict_each_other(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "a key of 16 bytes")
    message = "error: --hmac and --key check different kinds of signature: give one of them\n"
    assert run_verify(capsys, "signed", *KEY, "--hmac") == (2, "", message)


@pytest.mark.parametrize("key", [None, ""])
def test_hmac_needs_a_key(key: str | None, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    if key is not None:
        monkeypatch.setenv("ELSPETH_SIGNING_KEY", key)
    assert run_verify(capsys, "export.jsonl", "--hmac") == (
        2,
        "",
        "error: --hmac needs a key: set ELSPETH_SIGNING_KEY\n",
    )


def test_a_signed_export_is_verified(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "a key of 16 bytes")
    export_to(Path("export.jsonl"), ExportFormat.JSONL, signing_key=b"a key of 16 bytes")
    code, out, err = run_verify(capsys, "export.jsonl", "--hmac")
    assert (code, out) == (0, "")
    assert err.splitlines()[2] == "3 statement against files  -         only a bag can be checked for it"
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "another key of 17 bytes")
    assert run_verify(capsys, "export.jsonl", "--hmac")[0] == 1


def test_signatures_by_a_short_key_are_checked_with_a_warning(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "k")
    export_to(Path("export.jsonl"), ExportFormat.JSONL, signing_key=b"k")
    code, out, err = run_verify(capsys, "export.jsonl", "--hmac")
    assert (code, out) == (0, "")
    assert err.splitlines()[0] == (
        "warning: ELSPETH_SIGNING_KEY has less than 16 bytes: anyone who guesses it can forge signatures"
    )


def test_the_progress_bar_is_only_for_terminals(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _, out, err = run_verify(capsys, "signed", *KEY)
    assert (out, "verify" in err) == ("", True)


def test_several_workers_find_the_same_faults(capsys: Captured) -> None:
    assert run_verify(capsys, "signed", *KEY, "--workers", "2") == run_verify(capsys, "signed", *KEY)


def test_workers_are_only_for_bags(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "a key of 16 bytes")
    message = "error: --workers is for bags and proofs: leave it out for an export\n"
    assert run_verify(capsys, "trail.jsonl", "--hmac", "--workers", "2") == (2, "", message)
    export_to(Path("table"), ExportFormat.CSV)
    for option in ("--cluster", "--policy", "--ca", "--subject"):
        message = f"error: {option} is for bags and proofs: leave it out for an export\n"
        assert run_verify(capsys, "table", option, "x") == (2, "", message)


@pytest.mark.parametrize("form", sorted(READABLE - {ExportFormat.BAG}))
def test_an_unsigned_export_is_at_most_consistent(capsys: Captured, form: ExportFormat) -> None:
    export_to(Path("export"), form)
    code, out, err = run_verify(capsys, "export")
    assert (code, out) == (1, "")
    words = [" ".join(line.split()) for line in err.splitlines()]
    assert words[4] == "5 counts ok 37 records of 21 types, with the hash stated"
    assert words[10] == "11 verdict CONSISTENT BUT UNSIGNED"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the numbers that the progress display gets."""
    numbers: list[int] = []

    @contextmanager
    def display(*_: object) -> Iterator[Callable[[int], None]]:
        yield numbers.append

    monkeypatch.setattr(verify, "record_display", display)
    return numbers


def test_progress_counts_the_records_of_an_export(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, shown: list[int]
) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "a key of 16 bytes")
    with LandscapeDB("sqlite:///audit.db") as db:
        recorder = LandscapeRecorder(db)
        record_graph(recorder)
        with recorder.unit_of_work():
            for index in range(10_500):
                recorder.create_row("run", "source", index, {})
        recorder.finalize_run("run", RunStatus.FAILED)
    assert main(["export", "run", "-d", "audit.db", "-o", "trail.jsonl", "--hmac"]) == 0
    assert "5 counts                   ok" in run_verify(capsys, "trail.jsonl", "--hmac")[2]
    assert shown == [10_000]


@pytest.mark.parametrize("form", [ExportFormat.CSV, ExportFormat.PARQUET])
def test_signed_exports_of_several_files_are_verified(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, form: ExportFormat
) -> None:
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "a key of 16 bytes")
    export_to(Path("export"), form, signing_key=b"a key of 16 bytes")
    assert run_verify(capsys, "export", "--hmac")[0] == 0
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "another key, long")
    code, _, err = run_verify(capsys, "export", "--hmac")
    assert (code, err.split()[-2:]) == (1, ["NOT", "VERIFIED"])


def test_an_altered_export_is_not_verified(capsys: Captured) -> None:
    path = export_to(Path("export.jsonl"), ExportFormat.JSONL)
    path.write_bytes(path.read_bytes().replace(b"expected a number", b"expected a letter"))
    code, _, err = run_verify(capsys, "export.jsonl")
    assert code == 1
    assert "5 counts FAILED line 38: manifest: final_hash: expected " in " ".join(err.split())


def test_keys_are_refused_for_exports(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    export_to(Path("export.jsonl"), ExportFormat.JSONL)
    message = "error: --key is for bags and proofs: an export has no such signature\n"
    assert run_verify(capsys, "export.jsonl", *KEY) == (2, "", message)
    monkeypatch.setenv("ELSPETH_SIGNING_KEY", "a key of 16 bytes")
    message = "error: signed: --hmac is for exports that are not bags: verify a bag without it\n"
    assert run_verify(capsys, "signed", "--hmac") == (1, "", message)


def test_only_bags_can_be_compared(capsys: Captured) -> None:
    export_to(Path("export.jsonl"), ExportFormat.JSONL)
    export_to(Path("table"), ExportFormat.CSV)
    message = "error: several paths are compared as bags of one database: name directories or .zip files\n"
    for other in ("export.jsonl", "table"):
        for paths in (("signed", other), (other, "signed")):
            assert run_verify(capsys, *paths) == (2, "", message)


def test_a_part_of_a_bag_cannot_be_verified_alone(capsys: Captured) -> None:
    problem = f"is a part of a bag, which is verified as a whole: name {Path('signed').absolute()}"
    assert run_verify(capsys, "signed/data/records.jsonl") == (1, "", f"error: signed/data/records.jsonl: {problem}\n")


def test_bags_of_two_histories_are_not_verified_however_sound_each_is(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree("signed", "copy")
    bags = ["verify", "signed", "copy", "--key", f"keys/{PUBLIC_KEY}"]
    with monkeypatch.context() as patch:
        patch.setattr(verify, "_compare", lambda *_: ["two\x1bhistories"])
        assert main([*bags, "--json"]) == 1
    output, errors = capsys.readouterr()
    told = json.loads(output)
    assert (told["history"], [each["verdict"] for each in told["bags"]]) == (["two\x1bhistories"], ["VERIFIED"] * 2)
    assert [line for line in errors.splitlines() if not line[0].isdigit() and not line.startswith(" ")] == [
        "signed:",
        "copy:",
        "two\\x1bhistories",
    ]


def test_everything_that_is_trusted_reaches_the_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []
    answer = verify_bag(Path("signed"))

    def note(path: Path, **trusted: Any) -> Verification:  # noqa: ANN401
        given.append({"path": path, **trusted})
        return answer

    monkeypatch.setattr(verifying, "verify_bag", note)
    monkeypatch.setattr(proofs, "verify_proof", note)
    monkeypatch.setattr(policies, "load_policy", lambda path: f"policy {path}")
    monkeypatch.setattr(timestamps, "load_authorities", lambda path: [f"authority {path}"])
    options = ["--key", f"keys/{PUBLIC_KEY}", "--ca", "root", "--subject", "CN=Audit", "--policy", "logs"]
    assert main(["verify", "signed", *options, "--tsa-ca", "tsa"]) == 1
    assert main(["verify", "proof.json", *options[:-2]]) == 1
    key = load_public_key(Path("keys", PUBLIC_KEY))
    certified_by = CertifiedBy(roots=cast("Any", ["authority root"]), subject="CN=Audit")
    bag, proof = given
    assert callable(bag.pop("progress"))
    assert bag == {
        "path": Path("signed"),
        "key": key,
        "authorities": ["authority tsa"],
        "certified_by": certified_by,
        "policy": "policy logs",
        "executor": None,
    }
    assert proof == {"path": Path("proof.json"), "key": key, "certified_by": certified_by}
