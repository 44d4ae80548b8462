"""The command `export`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import (
    default_database,
    load_signer,
    protected_files,
    signing_key,
)
from elspeth.cli.clusters import READING, prepare_workers
from elspeth.cli.commands._export_rules import (
    check_options,
    check_sharing,
    check_subject,
    check_triples,
    choose_compression,
    choose_form,
)
from elspeth.cli.commands._lineage_events import export_events
from elspeth.cli.failures import UsageError
from elspeth.cli.options import (
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
from elspeth.core.landscape.exporting.format import (
    ExportFormat,
    guess_form,
)
from elspeth.objects.address import place_of
from elspeth.outputs.compression import Compression

if TYPE_CHECKING:
    from elspeth.evidence.format.bag import Contact

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
    typer.Option("--format", help="The format; by default that of the name's suffix (.zip: a bag), or jsonl."),
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
    # Before modules of databases are imported here, too.
    is_large = database is not None and prepare_workers(workers, READING, database)
    from elspeth.cli.commands import _record_exports as records  # noqa: PLC0415  start time

    options = records.ExportOptions(
        form=form,
        compression=compress,
        signing_key=signing_key() if hmac else None,
        signer=load_signer(key, public, certificate),
        archive=archive or guess_form(Path(output)) is ExportFormat.BAG,
        stamp=_make_stamp(tsa),
        protected=protected_files(database=as_found or database, keys=(key, public, certificate)),
        force=force,
        contents=records.Contents(place=None if payloads is None else place_of(payloads)) if include_contents else None,
        contact=_make_contact(contact_name, contact_email),
        base=base,
        workers=workers,
        cluster=cluster,
        is_large=is_large,
    )
    if as_found is not None:
        records.export_database(as_found, output, options, json=json)
    elif run is not None and database is not None:
        records.export_recorded_run(run, database, output, options, include_withheld=include_withheld, json=json)


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
