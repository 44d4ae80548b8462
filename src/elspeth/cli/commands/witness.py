"""The commands of a witness: `cosign` and `witness`."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from elspeth.cli.commands._log_files import (
    KeyOption,
    LogsOption,
    NameOption,
    OutputOption,
    PublicKeyOption,
    StateOption,
    load_note_signer,
    read_file,
    tell,
    witness_key,
    write_file,
)
from elspeth.cli.failures import UsageError
from elspeth.cli.options import STANDARD_OUTPUT, ForceOption, JsonOption
from elspeth.cli.terminal import aligned

__all__ = ["cosign", "witness"]


def cosign(
    request: Annotated[Path, typer.Argument(metavar="REQUEST", help="A request that `checkpoint --since` wrote.")],
    *,
    key: KeyOption,
    public: PublicKeyOption = None,
    name: NameOption,
    policy: LogsOption,
    state: StateOption,
    output: OutputOption = STANDARD_OUTPUT,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Cosign a checkpoint as a witness, without a network.

    A checkpoint without a proof must be the first of its log. It is cosigned only if it extends the last one.
    """
    from elspeth.evidence.format.errors import EvidenceError  # noqa: PLC0415  start time
    from elspeth.evidence.format.notes import Note  # noqa: PLC0415
    from elspeth.evidence.format.policy import load_policy  # noqa: PLC0415
    from elspeth.evidence.witness.requests import AddCheckpoint  # noqa: PLC0415
    from elspeth.evidence.witness.witness import RefusedError, Witness  # noqa: PLC0415

    data = read_file(request)
    if not data.startswith(b"old "):
        data = AddCheckpoint(old_size=0, proof=(), note=Note.parse(data, str(request))).to_bytes()
    signer = load_note_signer(name, key, public)
    witness = Witness(signer=signer, logs=load_policy(policy), directory=state)
    try:
        cosignature = witness.add_checkpoint(data)
    except RefusedError as error:
        hint = "" if error.size is None else f"; ask with --since and the checkpoint of {error.size:,} entries"
        raise EvidenceError(str(request), f"was not cosigned: {error}{hint}") from error
    note = AddCheckpoint.parse(data, str(request)).note.with_signatures([cosignature])
    write_file(note.to_bytes(), output, [], [key], force=force)
    tell({"for policies": f"witness NAME {witness_key(signer)}"}, output, json=json)


def witness(
    *,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where to listen, such as 127.0.0.1:8099.")
    ],
    key: KeyOption,
    public: PublicKeyOption = None,
    name: NameOption,
    policy: LogsOption,
    state: StateOption,
    json: JsonOption = False,
) -> None:
    """Serve a witness over HTTP, until it is stopped.

    It speaks c2sp.org/tlog-witness. Put a web server with TLS in front of it if others can reach it.
    """
    from elspeth.evidence.format.policy import load_policy  # noqa: PLC0415  start time
    from elspeth.evidence.witness.server import WitnessServer  # noqa: PLC0415
    from elspeth.evidence.witness.witness import Witness  # noqa: PLC0415

    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        raise UsageError(f"--listen {listen}: expected an address and a port, such as 127.0.0.1:8099")
    signer = load_note_signer(name, key, public)
    found = Witness(signer=signer, logs=load_policy(policy), directory=state)

    def report(line: str) -> None:
        typer.echo(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}", err=True)

    try:
        server = WitnessServer((host.strip("[]"), int(port)), found, report)
    except (OSError, OverflowError) as error:
        raise UsageError(f"--listen {listen}: cannot be used: {error}") from error
    with server:
        at, number = host.strip("[]"), server.server_address[1]
        where = f"http://[{at}]:{number}" if ":" in at else f"http://{at}:{number}"
        facts = {"listening": where, "for policies": f"witness NAME {witness_key(signer)}"}
        if json:
            typer.echo(jsonlib.dumps({name.replace(" ", "_"): fact for name, fact in facts.items()}, indent=2))
            sys.stdout.flush()  # the program that started the witness waits for its address
        else:
            typer.echo(aligned(facts.items()), err=True)
        server.serve_forever()
