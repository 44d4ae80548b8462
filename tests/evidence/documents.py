"""Changes to the documents of a bag, and their refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.errors import EvidenceError

Document = dict[str, Any]
Change = Callable[[Document], object]


def refusal(read: Callable[[bytes, str], object], document: object) -> str:
    """Return the message with which a document is refused."""
    with pytest.raises(EvidenceError) as caught:
        read(canonical(document), "document")  # type: ignore[arg-type]
    return str(caught.value)


def change_copy(document: Document, change: Change) -> Document:
    """Return a changed copy of a document."""
    copied: Document = json.loads(json.dumps(document))
    change(copied)
    return copied
