"""Options, files and keys of the commands on logs."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elspeth.cli.access import database_url, key_passphrase, protected_files
from elspeth.cli.failures import UsageError, use_stderr_for_json
from elspeth.cli.objects import require_local
from elspeth.cli.options import STANDARD_OUTPUT
from elspeth.cli.terminal import aligned, binary_stdout

if TYPE_CHECKING:
    from elspeth.core.landscape.sealing.log_check import KeptCheckpoint
    from elspeth.core.landscape.sealing.log_proofs import LogState
    from elspeth.evidence.format.notes import Note, NoteSigner, VerifierKey

__all__ = [
    "KeyOption",
    "LogsOption",
    "NameOption",
    "OutputOption",
    "PublicKeyOption",
    "StateOption",
    "kept_paths",
    "load_kept",
    "load_note",
    "load_note_signer",
    "log_key",
    "read_file",
    "read_state",
    "tell",
    "witness_key",
    "write_file",
]

_ENDINGS = (".checkpoint", ".tlog-proof")
"""The suffixes of the files that `check --against` reads from a directory."""

_TAKEN = "exists already: name another file, or use --force"


def _choose_stream(output: str) -> str:
    """Keep JSON off the stream of the output."""
    require_local(output)
    if output == STANDARD_OUTPUT:
        use_stderr_for_json()
    return output


KeyOption = Annotated[
    str, typer.Option("--key", "-k", metavar="PRIVATE.pem", help="The Ed25519 key that signs, or a signer's URI.")
]
PublicKeyOption = Annotated[
    Path | None, typer.Option("--public", metavar="PUBLIC.pem", help="The public key of a signer's URI.")
]
OutputOption = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar="PATH",
        callback=_choose_stream,
        help="The file to write, or - for standard output.",
    ),
]
NameOption = Annotated[
    str, typer.Option("--name", metavar="NAME", help="The name of the witness, such as audit.example.com/witness.")
]
LogsOption = Annotated[
    Path, typer.Option("--policy", metavar="POLICY", help="A policy (c2sp.org/tlog-policy) that names the logs.")
]
StateOption = Annotated[
    Path, typer.Option("--state", metavar="DIR", help="Where the witness keeps what it cosigned last. Never lose it.")
]


def read_state(database: str) -> LogState:
    from elspeth.core.landscape.database.connections import read_only_connection  # noqa: PLC0415  start time
    from elspeth.core.landscape.database.state import detect_state, require_current  # noqa: PLC0415
    from elspeth.core.landscape.database.urls import parse_url  # noqa: PLC0415
    from elspeth.core.landscape.sealing.log_proofs import read_log_state  # noqa: PLC0415

    url = parse_url(database_url(database))
    with read_only_connection(url) as connection:
        from elspeth.contracts.database_urls import mask_url  # noqa: PLC0415

        require_current(detect_state(connection), mask_url(url))
        return read_log_state(connection)


def load_note_signer(name: str, key: str, public: Path | None) -> NoteSigner:
    """Load a signer of notes.

    Raises KeyFileError unless its key is Ed25519, and EvidenceError for a name that no key can have.
    """
    from elspeth.evidence.format.notes import NoteSigner  # noqa: PLC0415  start time
    from elspeth.evidence.format.signatures import load_signer  # noqa: PLC0415

    signer = NoteSigner(name=name, signer=load_signer(key, public_key=public, passphrase=key_passphrase))
    log_key(signer)
    return signer


def log_key(signer: NoteSigner) -> VerifierKey:
    from elspeth.evidence.format.notes import NoteKeyType  # noqa: PLC0415  start time

    return signer.verifier_key(NoteKeyType.ED25519)


def witness_key(signer: NoteSigner) -> VerifierKey:
    from elspeth.evidence.format.notes import NoteKeyType  # noqa: PLC0415  start time

    return signer.verifier_key(NoteKeyType.COSIGNATURE)


def kept_paths(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = sorted(each for each in path.iterdir() if each.name.endswith(_ENDINGS))
        if not found:
            raise UsageError(f"--against {path}: holds no file that ends with {' or '.join(_ENDINGS)}")
        yield from found


def load_kept(path: Path, key: Path | None) -> KeptCheckpoint:
    """Read a kept checkpoint or proof.

    Raises EvidenceError for anything else, and if the key did not sign it.
    """
    from elspeth.core.landscape.sealing.log_check import KeptCheckpoint  # noqa: PLC0415  start time
    from elspeth.evidence.format.checkpoints import Checkpoint, LogProof, looks_like_log_proof  # noqa: PLC0415
    from elspeth.evidence.format.errors import EvidenceError  # noqa: PLC0415
    from elspeth.evidence.format.notes import Note, NoteKeyType, VerifierKey  # noqa: PLC0415
    from elspeth.evidence.format.signatures import load_public_key  # noqa: PLC0415

    data, place = read_file(path), str(path)
    proof = LogProof.parse(data, place) if looks_like_log_proof(data) else None
    note = Note.parse(data, place) if proof is None else proof.note
    found = Checkpoint.parse(note.text, place)
    if proof is not None:
        proof.verify_inclusion(found, place)
    if key is not None:
        signer = VerifierKey.of(found.origin, load_public_key(key), NoteKeyType.ED25519, str(key))
        if not note.verify([signer], place):
            raise EvidenceError(place, f"expected a signature by the key {signer}, got none")
    entry = None if proof is None else (proof.index, proof.entry)
    return KeptCheckpoint(place=place, checkpoint=found, entry=entry)


def load_note(path: Path) -> Note:
    from elspeth.evidence.format.notes import Note  # noqa: PLC0415  start time

    return Note.parse(read_file(path), str(path))


def read_file(path: Path) -> bytes:
    """Read a file of at most a proof's size.

    Raises EvidenceError if it cannot be read.
    """
    from elspeth.evidence.format.files import read_small_file  # noqa: PLC0415  start time
    from elspeth.evidence.format.limits import MAX_PROOF  # noqa: PLC0415

    return read_small_file(path, "a checkpoint or proof", MAX_PROOF)


def tell(facts: Mapping[str, str | int], output: str, *, json: bool) -> None:
    """Report the facts about a written file.

    The text goes to standard error, and JSON to the stream without the output.
    """
    if json:
        named = {name.replace(" ", "_"): fact for name, fact in facts.items()}
        typer.echo(jsonlib.dumps({"path": output, **named}, indent=2), err=output == STANDARD_OUTPUT)
        return
    texts = [(name, f"{fact:,}" if isinstance(fact, int) else fact) for name, fact in facts.items()]
    typer.echo(aligned(texts), err=True)


def write_file(data: bytes, output: str, databases: Sequence[str], keys: Sequence[str | None], *, force: bool) -> None:
    """Write a file, or to standard output.

    An existing file is replaced only with `force`, because a kept checkpoint is evidence.
    """
    from elspeth.evidence.format.errors import EvidenceError  # noqa: PLC0415  start time
    from elspeth.outputs.policy import Kind, OutputPolicy, OutputRefusedError  # noqa: PLC0415
    from elspeth.outputs.writing import hold  # noqa: PLC0415

    if output == STANDARD_OUTPUT:
        stream = binary_stdout()
        stream.write(data)
        stream.flush()
        return
    protected = protected_files(database=next(iter(databases), None), keys=keys)
    policy = OutputPolicy(kind=Kind.FILE, objection=lambda _: _TAKEN, protected=protected, force=force)
    try:
        with hold(Path(output), policy) as held, held.file() as file:
            file.write(data)
    except OutputRefusedError:
        raise
    except OSError as error:
        raise EvidenceError(output, f"cannot be written: {error.strerror}") from error
