"""Bags that the first release wrote are verified for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from elspeth.evidence.format.signatures import load_public_key
from elspeth.evidence.verifier.procedure import Verdict
from elspeth.evidence.verifier.verify import verify_bag

BAGS = Path(__file__).parents[1] / "data" / "first_release"

NAMES = ["completed-high-s", "failed", "recorded-in-epoch1", "recorded-in-epoch3"]


@pytest.mark.parametrize("name", NAMES)
def test_a_bag_of_the_first_release_is_verified(name: str) -> None:
    result = verify_bag(BAGS / f"{name}.zip", key=load_public_key(BAGS / "public.pem"))
    assert (result.verdict, result.faults) == (Verdict.VERIFIED, ())


def test_every_bag_is_looked_at() -> None:
    assert sorted(path.stem for path in BAGS.glob("*.zip")) == NAMES
