"""The command `export`."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from elspeth.cli.access import (
    database_url,
    default_database,
    load_signer,
    open_landscape,
    protected_files,
    signing_key,
)
from elspeth.cli.clusters import READING, database_files, prepare_workers, share_work
from elspeth.cli.commands._export_rules import (
    check_options,
    check_sharing,
    check_subject,
    check_triples,
    choose_compression,
    choose_form,
)
from elspeth.cli.commands._lineage_events import export_events
from elspeth.cli.failures import UsageError, use_stderr_for_json
from elspeth.cli.objects import uploading
from elspeth.cli.options import (
    STANDARD_OUTPUT,
    CertificateOption,
    ClusterOption,
    ForceOption,
    JsonOption,
    OptionalDatabaseOption,
    OptionalRunArgument,
    PayloadsOption,
    WorkersOption,
    require_only_one,
    require_unicode,
)
from elspeth.cli.progress import record_display
from elspeth.cli.terminal import aligned, binary_stdout
from elspeth.core.landscape.exporting.format import (
    ExportFormat,
    guess_form,
    object_problem,
)
from elspeth.objects.address import ObjectPath, Place, place_of
from elspeth.outputs.compression import Compression

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from elspeth.core.landscape.database import LandscapeDB
    from elspeth.core.landscape.exporting.contents import RunContents
    from elspeth.evidence.format.bag import Contact
    from elspeth.evidence.format.signatures import Signer
    from elspeth.outputs.policy import Protected

__all__ = ["export"]

_OutputOption = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        help="The file, the directory for csv and parquet, - for standard output, or the address of an object.",
    ),
]
_AsFoundOption = Annotated[
    str | None,
    typer.Option(
        "--as-found",
        metavar="URL|PATH",
        callback=require_unicode,
        help="Export every record of any SQLite or PostgreSQL database, without RUN and --database.",
    ),
]
_FormatOption = Annotated[
    ExportFormat | None,
    typer.Option("--format", help="The form; by default that of the name's suffix (.zip: a bag), or jsonl."),
]
_CompressOption = Annotated[
    Compression | None,
    typer.Option(
        "--compress", help="Compress jsonl, json, nt or csv; by default by the suffix of its name (.gz, .zst)."
    ),
]
_SignHmacOption = Annotated[bool, typer.Option("--hmac", help="Sign every record with the key in ELSPETH_SIGNING_KEY.")]
_KeyOption = Annotated[
    str | None,
    typer.Option("--key", "-k", metavar="PRIVATE.pem", help="Sign a bag with a private key: a PEM file or signer URI."),
]
_PublicOption = Annotated[
    Path | None, typer.Option("--public", metavar="PUBLIC.pem", help="The public key that a signer URI needs.")
]
_ArchiveOption = Annotated[bool, typer.Option("--zip", help="Write a bag as one zip file.")]
_StampOption = Annotated[
    str | None, typer.Option("--tsa", metavar="URL", help="Time-stamp a signed bag at this server (RFC 3161).")
]

_WithheldOption = Annotated[
    bool, typer.Option("--include-withheld", help="Export withheld columns too: the content of invalid rows.")
]


_ContentsOption = Annotated[
    bool, typer.Option("--include-contents", help="Put contents of rows, requests and answers into a bag.")
]
_ContactNameOption = Annotated[
    str | None, typer.Option("--contact-name", metavar="NAME", help="The name of the bag's maker.")
]
_ContactEmailOption = Annotated[
    str | None, typer.Option("--contact-email", metavar="ADDRESS", help="The e-mail address of the bag's maker.")
]
_BaseOption = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="IRI",
        callback=require_unicode,
        help="The beginning of the IRIs of records in nt; by default urn:elspeth:run:ID/.",
    ),
]


def export(
    *,
    run: OptionalRunArgument = None,
    database: OptionalDatabaseOption = None,
    output: _OutputOption,
    as_found: _AsFoundOption = None,
    form: _FormatOption = None,
    compress: _CompressOption = None,
    hmac: _SignHmacOption = False,
    key: _KeyOption = None,
    public: _PublicOption = None,
    certificate: CertificateOption = None,
    archive: _ArchiveOption = False,
    tsa: _StampOption = None,
    include_withheld: _WithheldOption = False,
    include_payloads: Annotated[bool, typer.Option("--include-payloads", hidden=True)] = False,
    include_contents: _ContentsOption = False,
    payloads: PayloadsOption = None,
    contact_name: _ContactNameOption = None,
    contact_email: _ContactEmailOption = None,
    base: _BaseOption = None,
    workers: WorkersOption = 1,
    cluster: ClusterOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Export all records of a run or a database.

    An earlier export of the same name is replaced, unless it is a bag.
    """
    include_withheld = include_withheld or include_payloads
    given = {
        "RUN": run is not None,
        "--database": database is not None,
        "--include-withheld": include_withheld,
        "--include-contents": include_contents,
        "--contact-name": contact_name is not None,
        "--contact-email": contact_email is not None,
        "--workers": workers > 1,
        "--base": base is not None,
        "--cluster": cluster is not None,
        f"--format {ExportFormat.OPENLINEAGE}": form is ExportFormat.OPENLINEAGE,
    }
    require_only_one({name: given[name] for name in ("--workers", "--cluster")})
    if payloads is not None and not include_contents:
        raise UsageError("--payloads: only with --include-contents")
    check_subject(as_found, given)
    form = choose_form(output, form, compress)
    compress = choose_compression(output, form, compress, as_found=as_found is not None)
    bag_options = {"--key": key is not None, "--public": public is not None, "--zip": archive, "--tsa": tsa is not None}
    bag_options["--certificate"] = certificate is not None
    bag_options |= {name: given[name] for name in ("--include-contents", "--contact-name", "--contact-email")}
    if form is ExportFormat.OPENLINEAGE and run is not None:
        of_records = {**bag_options, "--hmac": hmac}
        of_records |= {name: given[name] for name in ("--include-withheld", "--workers", "--cluster", "--base")}
        export_events(run, database, output, of_records, force=force, json=json)
        return
    if as_found is None and database is None:
        database = default_database()
    check_options(form, bag_options, {"--hmac": hmac, "--include-withheld": include_withheld})
    check_triples(form, base, {"--as-found": as_found is not None, "--hmac": hmac})
    check_sharing(given, by_record=include_withheld or form is ExportFormat.CSV)
    options = _Options(
        form=form,
        compression=compress,
        signing_key=signing_key() if hmac else None,
        signer=load_signer(key, public, certificate),
        archive=archive or guess_form(Path(output)) is ExportFormat.BAG,
        stamp=_make_stamp(tsa),
        protected=protected_files(database=as_found or database, keys=(key, public, certificate)),
        force=force,
        contents=_Contents(place=None if payloads is None else place_of(payloads)) if include_contents else None,
        contact=_make_contact(contact_name, contact_email),
        base=base,
        workers=workers,
        cluster=cluster,
    )
    if as_found is not None:
        _export_found(as_found, output, options, json=json)
    elif run is not None and database is not None:
        _export_run(run, database, output, options, include_withheld=include_withheld, json=json)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Contents:
    """That contents are exported, and where they are kept.

    Without a place it is where the run kept them.
    """

    place: Place | None

    def of_run(self, db: LandscapeDB, run_id: str) -> RunContents:
        """Return the contents of a run."""
        from elspeth.core.landscape.exporting.contents import (  # noqa: PLC0415  start time
            find_contents,
            payload_place,
        )

        return find_contents(db, run_id, self.place or payload_place(db, run_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """Options that exports of runs and of databases share."""

    form: ExportFormat
    compression: Compression | None
    signing_key: bytes | None
    signer: Signer | None
    archive: bool
    stamp: Callable[[bytes], bytes] | None
    protected: Sequence[Protected]
    force: bool
    contents: _Contents | None = None
    contact: Contact | None = None
    base: str | None = None
    workers: int = 1
    cluster: str | None = None

    @property
    def signed(self) -> bool:
        """Whether the export is signed."""
        return self.signing_key is not None or self.signer is not None


def _export_run(run: str, database: str, output: str, options: _Options, *, include_withheld: bool, json: bool) -> None:
    prepare_workers(options.workers, READING, database)
    from elspeth.core.landscape.exporting.files import write_export  # noqa: PLC0415  start time
    from elspeth.core.landscape.queries.runs import resolve_run  # noqa: PLC0415

    with (
        _open_target(output, options) as target,
        open_landscape(database) as db,
        share_work(options.workers, options.cluster, READING, database_files(db.engine.url)) as executor,
    ):
        run_id = resolve_run(db, run)
        contents = None if options.contents is None else options.contents.of_run(db, run_id)
        with record_display("export", _count_records(db, run_id)) as progress:
            records = write_export(
                db,
                run_id,
                target,
                format=options.form,
                compression=options.compression,
                signing_key=options.signing_key,
                signer=options.signer,
                archive=options.archive,
                stamp=options.stamp,
                include_payloads=include_withheld,
                contents=contents,
                contact=options.contact,
                base=options.base,
                progress=progress,
                executor=_usable_executor(executor, db, run_id),
                protected=options.protected,
                force=options.force,
            )
    subject, facts = {"run": run_id}, dict[str, object]({"run_id": run_id})
    if contents is not None:
        missing = f", {contents.missing:,} that records name are not in {contents.place}" if contents.missing else ""
        subject["contents"] = f"{len(contents.kept):,}{missing}"
        facts["contents"] = {"included": len(contents.kept), "missing": contents.missing}
    _print_export(subject, facts, output, options, records, json=json)


def _export_found(database: str, output: str, options: _Options, *, json: bool) -> None:
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415  start time
    from elspeth.core.landscape.exporting.found.export import export_found  # noqa: PLC0415

    with _open_target(output, options) as target, record_display("export") as progress:
        summary = export_found(
            parse_url(database_url(database)),
            target,
            format=options.form,
            compression=options.compression,
            signing_key=options.signing_key,
            signer=options.signer,
            archive=options.archive,
            stamp=options.stamp,
            progress=progress,
            protected=options.protected,
            force=options.force,
        )
    held = f"{summary.name}, as found: {summary.tables:,} tables and views, {summary.rows:,} rows"
    facts = {"database": summary.name, "tables": summary.tables, "rows": summary.rows}
    _print_export({"database": held}, facts, output, options, summary.records, json=json)


@contextmanager
def _open_target(output: str, options: _Options) -> Iterator[BinaryIO | Path]:
    """Yield where the export is written.

    What is written for an object is uploaded at the end. Raises UsageError for a directory as an object.
    """
    place = place_of(output)
    if isinstance(place, ObjectPath):
        if (problem := object_problem(options.form, archive=options.archive)) is not None:
            raise UsageError(f"-o {output}: {problem}")
        with uploading(place, force=options.force) as path:
            yield path
    elif output != STANDARD_OUTPUT:
        yield Path(output)
    else:
        use_stderr_for_json()
        target = binary_stdout()
        yield target
        target.flush()


def _count_records(db: LandscapeDB, run_id: str) -> int | None:
    """Return the number of records if a seal holds it."""
    from elspeth.core.landscape.sealing.seal import sealed_record_count  # noqa: PLC0415  start time

    with db.connection() as connection:
        return sealed_record_count(connection, run_id)


def _usable_executor(executor: Executor | None, db: LandscapeDB, run_id: str) -> Executor | None:
    """Return the executor unless one process must read the run."""
    from elspeth.core.landscape.lines.ranges import can_read_in_parallel  # noqa: PLC0415  start time

    if executor is None:
        return None
    with db.connection() as connection:
        if can_read_in_parallel(connection, run_id):
            return executor
    typer.echo(f"run {run_id} has not ended: one process reads it, in one snapshot", err=True)
    return None


def _make_contact(name: str | None, email: str | None) -> Contact | None:
    if name is None and email is None:
        return None
    from elspeth.evidence.format.bag import Contact  # noqa: PLC0415  start time

    return Contact(name=name, email=email)


def _make_stamp(url: str | None) -> Callable[[bytes], bytes] | None:
    if url is None:
        return None
    from elspeth.evidence.format.timestamp import request_timestamp  # noqa: PLC0415  start time

    return partial(request_timestamp, url=url)


def _print_export(
    subject: Mapping[str, str],
    facts: Mapping[str, object],
    output: str,
    options: _Options,
    records: int,
    *,
    json: bool,
) -> None:
    """Print what was exported, to the stream without the export.

    `subject` says it for people, `facts` for programs.
    """
    is_streamed, form, compression = output == STANDARD_OUTPUT, options.form, options.compression
    if json:
        what = {"path": output, "format": form, "compress": compression}
        summary = {**facts, **what, "records": records, "signed": options.signed}
        typer.echo(jsonlib.dumps(summary, indent=2), err=is_streamed)
        return
    how = "signed" if options.signed else "not signed"
    where = "standard output" if is_streamed else output
    kind = form if compression is None else f"{form}, {compression}"
    lines = [*subject.items(), ("export", f"{where} ({kind}, {records:,} records, {how})")]
    typer.echo(aligned(lines), err=is_streamed)
