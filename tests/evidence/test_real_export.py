"""A real bag with every record type and shape."""

from __future__ import annotations

from pathlib import Path

import bagit
import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.bag_form import write_bag_of_run
from elspeth.evidence.format.signatures import Signer
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.proof import prove, verify_proof
from elspeth.evidence.verifier.verify import verify_bag
from elspeth_schema.contracts import RunStatus
from tests.fixtures.rich_run import recorded, rich_run


@pytest.fixture
def bag(tmp_path: Path, signer: Signer) -> Path:
    with LandscapeDB.in_memory() as db:
        run_id = recorded(db, rich_run(status=RunStatus.FAILED))
        write_bag_of_run(db, run_id, tmp_path / "bag", signer=signer)
    return tmp_path / "bag"


def test_a_bag_of_every_record_type_is_verified(bag: Path, signer: Signer) -> None:
    result = verify_bag(bag, key=signer.public_key)
    assert (result.verdict, result.faults) == (Verdict.VERIFIED, ())
    assert "records are not final, as a failed run may leave them" in result.steps[7].detail
    assert (
        "3 of 13 laws hold; 10 not asked of a run that was imported, or recorded before runs were sealed: readings, "
        in result.steps[8].detail
    )
    bagit.Bag(str(bag)).validate()


def test_records_of_every_type_are_proved(bag: Path, signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "proof.json").write_bytes(prove(bag, "run", "run-1").to_bytes())
    assert verify_proof(tmp_path / "proof.json", key=signer.public_key).verdict is Verdict.VERIFIED
