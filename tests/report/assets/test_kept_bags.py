"""The page judges kept bags as the verifier does."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.evidence.format.signatures import load_public_key
from elspeth.evidence.verifier.procedure import Verdict as Verified
from elspeth.evidence.verifier.verify import verify_bag
from tests.fixtures.browser import Tab
from tests.report.scripts import Verdict, check_archive

KEPT = sorted((Path(__file__).parents[2] / "data").glob("*/*.zip"))

SAME = {
    Verified.VERIFIED: "signed",
    Verified.UNSIGNED: "unsigned",
    Verified.SIGNATURE_UNCHECKED: "unchecked",
    Verified.NOT_VERIFIED: "refused",
}


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_page_agrees_with_the_verifier(path: Path, code: Tab) -> None:
    public = load_public_key(path.with_name("public.pem"))
    for key in (public, None):
        found = check_archive(code, path.read_bytes(), key)
        assert isinstance(found, Verdict), found
        assert found.verdict == SAME[verify_bag(path, key=key).verdict], found.text
