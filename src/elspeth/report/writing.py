"""Writes the report of a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from elspeth.core.landscape.lines.reading import read_lines, split
from elspeth.objects.address import ObjectPath, Place
from elspeth.outputs.irreplaceable import content_problem
from elspeth.outputs.policy import Kind, OutputPolicy, Protected, check_output
from elspeth.outputs.uploads import begin_upload
from elspeth.outputs.writing import Output, hold
from elspeth.report.blocks import BlockWriter
from elspeth.report.embed import Embed
from elspeth.report.embedding import MOST_RECORDS, chosen_lines
from elspeth.report.evidence import PageEvidence
from elspeth.report.markup import shown
from elspeth.report.overview import Overview, read_overview
from elspeth.report.page import PageText, page_objection, page_parts
from elspeth.report.records import RunRecords
from elspeth.report.sections import render_heading, render_sections
from elspeth_schema import EPOCH

if TYPE_CHECKING:
    from elspeth.evidence.format.certificates import CertificateFacts

__all__ = ["WrittenReport", "check_target", "report_target", "write_report"]

_GENERATOR = re.compile(rb'<!doctype html>\n.*<meta name="generator" content="elspeth ', re.DOTALL)
_OBJECTION = partial(page_objection, pattern=_GENERATOR, what="a report")


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenReport:
    """A report, with its run and numbers of records.

    `records` is the number of records in the run, `embedded` the number in the page.
    """

    run_id: str
    embed: Embed
    records: int
    embedded: int


def check_target(target: Path, *, protected: Sequence[Protected] = (), force: bool = False) -> OutputPolicy:
    """Return which files a report may replace: earlier reports.

    Raises OutputRefusedError if the target is something else.
    """
    policy = OutputPolicy(kind=Kind.FILE, objection=_OBJECTION, protected=protected, force=force)
    check_output(target, policy)
    return policy


@contextmanager
def report_target(
    place: Place, *, protected: Sequence[Protected] = (), force: bool = False
) -> Iterator[tuple[Path, OutputPolicy]]:
    """Yield the file for a report, and its output policy.

    If the place is an object, the file is uploaded at the end. Raises OutputRefusedError if the place holds anything
    but an earlier report, and ObjectStoreError.
    """
    if not isinstance(place, ObjectPath):
        yield place, check_target(place, protected=protected, force=force)
        return
    with begin_upload(place, content_problem if force else _OBJECTION).file() as path:
        yield path, check_target(path)


def write_report(
    records: RunRecords,
    target: Path | Output,
    policy: OutputPolicy,
    *,
    embed: Embed | None = None,
    evidence: PageEvidence | None = None,
    progress: Callable[[int], None] | None = None,
) -> WrittenReport:
    """Write the page of a run.

    Without `embed` it holds all records of a run that has up to 200,000, and chosen records of a larger run. `progress`
    is called with the number of records read so far.

    Raises AlteredRunError for a run that differs from its seal, AuditIntegrityError for a record that breaks the
    schema, OutputRefusedError if the report may not replace what is at the path, and OSError. After an error the file
    there is unchanged.
    """
    overview = read_overview(records)  # before the lines are read, which keeps the connection busy
    with BlockWriter() as blocks:
        total = 0
        for batch in _lines(records):
            total += len(batch)
            if embed is Embed.ALL or (embed is None and total <= MOST_RECORDS):
                blocks.add(batch)
            if progress is not None:
                progress(total)
        if embed is None:
            embed = Embed.ALL if total <= MOST_RECORDS else Embed.FAILURES
        if embed is Embed.FAILURES:
            blocks.clear()
            for batch in chosen_lines(records.connection, records.run_id):
                blocks.add(batch)
        written = WrittenReport(run_id=records.run_id, embed=embed, records=total, embedded=blocks.count)
        with hold(target, policy) as output, output.file() as file:
            text = _text(written, overview, evidence or PageEvidence())
            for part in page_parts(text, blocks.elements()):
                file.write(part)
    return written


def _lines(records: RunRecords) -> Iterator[list[bytes]]:
    """Yield the lines in the current epoch."""
    if records.epoch == EPOCH:
        yield from records.lines()
    else:
        for _, _, lines in read_lines(records.connection, records.run_id, split):
            yield lines


def _text(report: WrittenReport, overview: Overview, evidence: PageEvidence) -> PageText:
    return PageText(
        title=f"Run {report.run_id}",
        heading=render_heading(overview),
        sections=render_sections(overview),
        embedding=_embedding(report),
        certificate="" if evidence.certificate is None else _certificate(evidence.certificate),
        made=datetime.now(UTC),
        facts={
            "runId": report.run_id,
            "epoch": EPOCH,
            "embed": report.embed,
            "embedded": report.embedded,
            "total": report.records,
            "seal": evidence.seal,
            "key": None if evidence.key is None else evidence.key.pem.decode(),
        },
        files=evidence.files,
        contents=evidence.contents,
    )


def _certificate(facts: CertificateFacts) -> str:
    """Return the subject of the certificate, as HTML."""
    said = f"The bag has a certificate of the key that signed it: {shown(str(facts))}."
    return f"<p>{said} This page checks no certificates: <code>elspeth verify BAG --ca ROOT.pem</code> does.</p>\n"


def _embedding(report: WrittenReport) -> str:
    """Return a sentence that says which records the page holds."""
    if report.embed is Embed.ALL:
        return f"This page holds all {report.records:,} records of the run."
    if report.embed is Embed.NONE:
        return f"This page holds none of the {report.records:,} records of the run."
    return (
        f"This page holds {report.embedded:,} of the {report.records:,} records of the run: the stories of rows that"
        " failed or were quarantined, of rows for which another system was called, and of the first rows."
    )
