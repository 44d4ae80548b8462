"""Checks which options of `export` can be combined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from elspeth.cli.access import require_key
from elspeth.cli.failures import UsageError
from elspeth.cli.options import STANDARD_OUTPUT
from elspeth.core.landscape.exporting.format import (
    FILES,
    ExportFormat,
    compression_problem,
    guess_form,
    name_problem,
)
from elspeth.outputs.compression import Compression, guess_compression

__all__ = [
    "check_options",
    "check_sharing",
    "check_subject",
    "check_triples",
    "choose_compression",
    "choose_form",
]

_BASE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>\"{}|^`\\]+/")


def check_subject(as_found: str | None, given: Mapping[str, bool]) -> None:
    """Raise UsageError unless one run or database is named.

    `given` maps the options that concern a run to whether they were given.
    """
    if as_found is not None:
        wrong = [name for name, is_given in given.items() if is_given]
        if wrong:
            raise UsageError(
                f"{', '.join(wrong)}: not with --as-found, which exports the whole database in one process"
            )
        return
    if not given["RUN"]:
        raise UsageError("RUN missing: name a run, or any database with --as-found")


def choose_form(output: str, given: ExportFormat | None, compression: Compression | None) -> ExportFormat:
    """Return the form to write.

    Raises UsageError if the name and the options contradict each other or say nothing.
    """
    form = given or guess_form(Path(output)) or ExportFormat.JSONL
    if output == STANDARD_OUTPUT:
        if form not in (*FILES, ExportFormat.OPENLINEAGE):
            forms = "jsonl, json, nt or openlineage"
            raise UsageError(f"-o -: the format {form} is several files: only with --format {forms}")
    elif problem := name_problem(output, form, compression, is_given=given is not None, option="--format"):
        raise UsageError(f"-o {output}: {problem}")
    return form


def choose_compression(
    output: str, form: ExportFormat, given: Compression | None, *, as_found: bool
) -> Compression | None:
    """Return the compression of the export, or None.

    Raises UsageError for a form that cannot be compressed in this way.
    """
    if given is not None and (problem := compression_problem(form, given)):
        raise UsageError(f"--compress {given}: {problem}")
    compression = given or guess_compression(Path(output))
    if as_found and compression is not None and form is ExportFormat.CSV:
        raise UsageError(f"--compress {compression}: not with --as-found in the format csv: give jsonl or json")
    return compression


def check_options(form: ExportFormat, bag_options: Mapping[str, bool], other_options: Mapping[str, bool]) -> None:
    """Raise UsageError for options that do not fit the form.

    Both mappings map options to whether they were given.
    """
    is_bag = form is ExportFormat.BAG
    wrong = [name for name, given in (other_options if is_bag else bag_options).items() if given]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: {'not' if is_bag else 'only'} with --format bag")
    if bag_options["--tsa"] and not bag_options["--key"]:
        raise UsageError("--tsa: only with --key: the time-stamp is over the signature")
    require_key(
        has_key=bag_options["--key"],
        has_public=bag_options["--public"],
        has_certificate=bag_options["--certificate"],
    )


def check_triples(form: ExportFormat, base: str | None, others: Mapping[str, bool]) -> None:
    """Raise UsageError for options that do not fit N-Triples.

    `others` maps the options that N-Triples do not support to whether they were given.
    """
    if form is not ExportFormat.NT:
        if base is not None:
            raise UsageError("--base: only with --format nt")
        return
    if wrong := [name for name, is_given in others.items() if is_given]:
        raise UsageError(f"{', '.join(wrong)}: not with --format nt, which holds a run without signatures")
    if base is not None and not _BASE.fullmatch(base):
        raise UsageError(f"--base {base}: expected an absolute IRI that ends in /, such as https://example.org/42/")


def check_sharing(given: Mapping[str, bool], *, by_record: bool) -> None:
    """Raise UsageError if records cannot be shared among workers.

    `given` says of each option whether it was given.
    """
    for name in ("--workers", "--cluster"):
        if given[name] and by_record:
            raise UsageError(f"{name}: not with --format csv, and not with --include-withheld")
