"""Reports of test runs, written and opened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from elspeth.core.landscape.database import LandscapeDB
from elspeth.report.embed import Embed
from elspeth.report.evidence import PageEvidence
from elspeth.report.records import open_database_records
from elspeth.report.writing import WrittenReport, check_target, write_report
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, Kind
from tests.fixtures.browser import Tab

__all__ = ["HOSTILE", "ask", "ask_all", "hostile", "open_page", "report_on"]

HOSTILE = "</script><img src=x onerror=alert(1)>\u202egnp.exe\u0007<!-- & \" '"


def report_on(
    db: LandscapeDB,
    path: Path,
    *,
    run: str = "latest",
    embed: Embed | None = None,
    evidence: PageEvidence | None = None,
) -> WrittenReport:
    """Write the report of a run."""
    with open_database_records(db, run) as records:
        return write_report(records, path, check_target(path), embed=embed, evidence=evidence)


def open_page(tab: Tab, path: Path) -> None:
    """Open a report and wait for its records."""
    tab.open(path)
    tab.wait_for("document.body.dataset.ready === 'records'")


def ask(tab: Tab, question: str, given: str) -> Any:  # noqa: ANN401  any JSON
    """Ask the worker of the page; `given` is JavaScript."""
    return tab.evaluate(f"page.then(({{ helper }}) => helper.ask({question!r}, {given}))")


def ask_all(tab: Tab, question: str, given: Sequence[Mapping[str, object]]) -> list[Any]:
    """Ask the worker several times at once."""
    asked = f"{json.dumps(given)}.map((each) => helper.ask({question!r}, each))"
    found: list[Any] = tab.evaluate(f"page.then(({{ helper }}) => Promise.all({asked}))")
    return found


def hostile(run: Sequence[AuditRecord], text: str = HOSTILE) -> list[AuditRecord]:
    """Return a run with the text wherever any text fits."""
    return [replace(record, **_free_texts(record, text)) for record in run]


def _free_texts(record: AuditRecord, text: str) -> dict[str, Any]:
    record_type = next(each for each in RECORD_TYPES.values() if type(record) in each.shapes.values())
    bound = {name for reference in record_type.references for name in reference.columns} | {*record_type.key}
    return {
        column.name: text[: getattr(record_type.table.c[column.name].type, "length", None)]
        for column in record_type.columns
        if column.kind is Kind.TEXT
        and column.enum is None
        and column.name not in bound
        and not column.name.endswith(("_hash", "_id", "fingerprint"))
        and isinstance(getattr(record, column.name, None), str)
    }
