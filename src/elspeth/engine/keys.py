"""Loads and checks the keys and secrets of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from elspeth.contracts.environment import (
    ALLOW_RAW_SECRETS,
    FINGERPRINT_KEY,
    KEY_PASSPHRASE,
    SIGNING_KEY,
    key_bytes,
    key_problem,
)
from elspeth.core.landscape.exporting.format import ExportFormat
from elspeth.core.secrets import Mask, find_secrets, fingerprint_of, redact, secret_mask, secrets_in
from elspeth.core.settings import Problem, Settings, SettingsError
from elspeth.core.settings.landscape import ExportSettings, LogSettings, SealSettings
from elspeth.core.settings.paths import export_form
from elspeth.evidence.format.bag import Contact
from elspeth.evidence.format.errors import EvidenceError, KeyFileError
from elspeth.evidence.format.notes import NoteKeyType, NoteSigner, VerifierKey
from elspeth.evidence.format.signatures import Passphrase, Signer, load_signer

__all__ = ["RunKeys", "SecretVariable", "load_run_keys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretVariable:
    """An environment variable that holds a secret of the settings.

    `fingerprint` has 64 hex digits.
    """

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunKeys:
    """The keys that hide a run's secrets and sign evidence.

    An export is signed with a key, a bag by a signer; None leaves it unsigned. A bag names the `contact` as its maker.
    `log_signer` signs checkpoints of the log of runs, and `witness_keys` are the keys of the witnesses that cosign
    them, by URL. `variables` are the environment variables from which secrets came, if secrets have fingerprints; they
    were read at `looked_up`, in seconds since 1970.
    """

    mask: Mask
    signing_key: bytes | None
    bag_signer: Signer | None = None
    seal_signer: Signer | None = None
    log_signer: Signer | None = None
    contact: Contact | None = None
    witness_keys: Mapping[str, VerifierKey] = field(default_factory=dict)
    variables: tuple[SecretVariable, ...] = ()
    looked_up: float = 0.0


def load_run_keys(
    settings: Settings, environ: Mapping[str, str], *, source: str, ask: Passphrase = lambda _: None
) -> RunKeys:
    """Load the keys that the settings require.

    `source` names the settings file in messages. `ask` is called for the pass phrase of a key if the environment does
    not contain it. Raises SettingsError for all keys that are missing.
    """
    problems: list[Problem] = []
    signers = _Signers(environ=environ, ask=ask, problems=problems)
    mask = secret_mask(environ)
    secrets = list(find_secrets(settings.model_dump(mode="json")))
    if mask is None:
        message = (
            "is a secret, which is never stored: "
            f"set {FINGERPRINT_KEY} to record a fingerprint of it, or {ALLOW_RAW_SECRETS}=true to record none"
        )
        problems += [Problem(location=location, message=message) for location in secrets]
    elif secrets and (key := environ.get(FINGERPRINT_KEY)) and (weakness := key_problem(FINGERPRINT_KEY, key)):
        problems.append(Problem(location=(), message=weakness))
    export = settings.landscape.export
    signing_key = environ.get(SIGNING_KEY, "")
    signer = None
    if export.enabled and _form(settings) is ExportFormat.BAG:
        signer = _bag_signer(export, signers)
    elif export.enabled and export.sign:
        missing = None if signing_key else f"a signed export needs a key: set {SIGNING_KEY}, or sign: false"
        if fault := missing or key_problem(SIGNING_KEY, signing_key):
            problems.append(Problem(location=("landscape", "export", "sign"), message=fault))
    seal_signer = signers.load("seal", settings.landscape.seal)
    log_signer = _log_signer(settings.landscape.log, signers)
    witness_keys = dict(_witness_keys(settings.landscape.log, problems))
    contact = _contact(export, problems)
    if problems:
        raise SettingsError(source, problems)
    return RunKeys(
        mask=mask or redact,
        signing_key=key_bytes(signing_key) if export.sign else None,
        bag_signer=signer,
        seal_signer=seal_signer,
        log_signer=log_signer,
        contact=contact,
        witness_keys=witness_keys,
        variables=tuple(_secret_variables(settings, environ, mask or redact)),
        looked_up=time.time(),
    )


def _form(settings: Settings) -> ExportFormat:
    """Return the form of the export.

    The suffix of its file name may determine it.
    """
    export = settings.landscape.export
    return export_form(export, export.path or str(settings.sinks[export.sink or ""].options["path"]))


def _secret_variables(settings: Settings, environ: Mapping[str, str], mask: Mask) -> Iterator[SecretVariable]:
    """Yield the variables that hold a secret.

    The whole variable may be a secret, or a URL that contains one.
    """
    secrets = secrets_in(settings.model_dump(mode="json"))
    for name in sorted(settings.variables):
        value = environ.get(name, "")
        for secret in sorted(secrets & {value, *secrets_in({"value": value})}):
            fingerprint = fingerprint_of(mask(secret))
            if fingerprint is not None:
                yield SecretVariable(name=name, fingerprint=fingerprint)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signers:
    """Loads the signers that sections of `landscape` name."""

    environ: Mapping[str, str]
    ask: Passphrase
    problems: list[Problem]

    def load(self, section: str, part: ExportSettings | SealSettings | LogSettings) -> Signer | None:
        """Return a signer, or None without a usable key."""
        if part.key is None:
            return None
        variable = part.passphrase_env or KEY_PASSPHRASE

        def passphrase(key: str) -> str:
            found = self.environ.get(variable) or self.ask(f"pass phrase of {key}")
            if not found:
                raise KeyFileError(key, f"is encrypted: set {variable} to its pass phrase")
            return found

        certificate = part.certificate if isinstance(part, ExportSettings) else None
        public = part.public or certificate
        at_fault = "key"
        try:
            signer = load_signer(part.key, public_key=None if public is None else Path(public), passphrase=passphrase)
            if certificate is None:
                return signer
            from elspeth.evidence.format.certificates import certify  # noqa: PLC0415  start time of runs without one

            at_fault = "certificate"
            return certify(signer, Path(certificate))
        except KeyFileError as error:
            self.problems.append(Problem(location=("landscape", section, at_fault), message=str(error)))
            return None


def _bag_signer(export: ExportSettings, signers: _Signers) -> Signer | None:
    """Return the signer of the bag, None without a key."""
    if export.key is None and export.sign:
        message = "a signed bag needs a private key: give landscape.export.key (see elspeth keys generate)"
        signers.problems.append(Problem(location=("landscape", "export", "sign"), message=message))
    if export.key is None and export.certificate is not None:
        message = "is of a private key that signs: give landscape.export.key, too"
        signers.problems.append(Problem(location=("landscape", "export", "certificate"), message=message))
    return signers.load("export", export)


def _contact(export: ExportSettings, problems: list[Problem]) -> Contact | None:
    """Return the maker whom bags name, or None."""
    if export.contact_name is None and export.contact_email is None:
        return None
    try:
        return Contact(name=export.contact_name, email=export.contact_email)
    except EvidenceError as error:
        problems.append(Problem(location=("landscape", "export"), message=str(error)))
        return None


def _log_signer(log: LogSettings, signers: _Signers) -> Signer | None:
    """Return the signer of checkpoints, or None without checkpoints."""
    if not log.after_run:
        return None
    signer, problems = signers.load("log", log), signers.problems
    try:
        if signer is not None:
            NoteSigner(name="log", signer=signer).verifier_key(NoteKeyType.ED25519)
    except KeyFileError as error:
        problems.append(Problem(location=("landscape", "log", "key"), message=f"{log.key}: {error.problem}"))
    return signer


def _witness_keys(log: LogSettings, problems: list[Problem]) -> Iterator[tuple[str, VerifierKey]]:
    """Yield the URLs of witnesses with their keys."""
    for index, place in enumerate(log.after_run):
        if place.witness is None or place.key is None:
            continue
        location = ("landscape", "log", "after_run", index, "key")
        try:
            key = VerifierKey.parse(place.key, place.witness)
        except EvidenceError as error:
            problems.append(Problem(location=location, message=error.problem))
            continue
        if key.type is NoteKeyType.COSIGNATURE:
            yield place.witness, key
        else:
            problems.append(Problem(location=location, message="expected the key of a witness, got that of a log"))
