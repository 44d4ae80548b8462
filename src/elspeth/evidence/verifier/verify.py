"""Verifies a bag by the numbered procedure of `procedure`.

Everything is derived again from the bytes of the bag and compared with its claims. The schema and rules of the bag are
used only after its files, and its signature if a key was given, were found sound. Records are read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from hashlib import sha256
from pathlib import Path

from cryptography.x509 import Certificate

from elspeth.evidence.format import bag
from elspeth.evidence.format.bag import RunFacts, Statement
from elspeth.evidence.format.certificates import CertificateFacts
from elspeth.evidence.format.errors import EvidenceError, printable, shown
from elspeth.evidence.format.found import record_schema
from elspeth.evidence.format.log_place import LogPlace
from elspeth.evidence.format.merkle import HASH_SIZE
from elspeth.evidence.format.policy import Policy
from elspeth.evidence.format.salts import LEAF_SALTS_SINCE, LeafHasher, Salts
from elspeth.evidence.format.signatures import PublicKey
from elspeth.evidence.verifier._comparisons import compare_files, compare_records, find_altered, leaf_error
from elspeth.evidence.verifier._contents import ContentNames, check_names
from elspeth.evidence.verifier._crate import CrateCheck
from elspeth.evidence.verifier._epochs import check_epochs
from elspeth.evidence.verifier._examination import (
    Documents,
    Findings,
    LineBatch,
    compute_root,
    examine,
    read_batches,
)
from elspeth.evidence.verifier._log import check_log_place
from elspeth.evidence.verifier._trail import TrailChecker
from elspeth.evidence.verifier.certificates import ANYBODY, CertifiedBy
from elspeth.evidence.verifier.found import FoundChecker, counted, pass_over
from elspeth.evidence.verifier.procedure import Step, StepError, Steps, Verdict, Verification
from elspeth.evidence.verifier.reader import BagFiles, open_bag
from elspeth.evidence.verifier.signer import Trusted, check_signer
from elspeth.evidence.verifier.statements import read_statement

__all__ = ["verify_bag", "verify_files"]

_UNLISTED = frozenset({bag.TAG_MANIFEST, bag.TIMESTAMP})
"""Tag files that no manifest lists."""

_NOT_SUBJECTS = frozenset({bag.BAGIT, bag.MANIFEST, bag.TAG_MANIFEST, bag.ENVELOPE, bag.STATEMENT, bag.TIMESTAMP})
"""Files that the statement does not name, because they depend on it or never change."""


def verify_bag(
    path: Path,
    *,
    key: PublicKey | None = None,
    authorities: Sequence[Certificate] = (),
    certified_by: CertifiedBy = ANYBODY,
    policy: Policy | None = None,
    progress: Callable[[int], None] | None = None,
    executor: Executor | None = None,
) -> Verification:
    """Verify a bag in a directory or zip archive.

    With `authorities`, the bag must have a time-stamp by one of them. With roots in `certified_by`, a chain of
    certificates must lead from the signing key to one of them. With a `policy`, the bag must have a checkpoint of the
    log of runs that the policy accepts. `progress` is called with the number of lines read so far. The processes of an
    `executor` share the work; the result is the same.

    Problems of the evidence are in the result. Raises EvidenceError only if the path is not a bag at all.
    """
    with open_bag(path) as files:
        return verify_files(
            files,
            key=key,
            authorities=authorities,
            certified_by=certified_by,
            policy=policy,
            progress=progress,
            executor=executor,
        )


def verify_files(
    files: BagFiles,
    *,
    key: PublicKey | None = None,
    authorities: Sequence[Certificate] = (),
    certified_by: CertifiedBy = ANYBODY,
    policy: Policy | None = None,
    progress: Callable[[int], None] | None = None,
    executor: Executor | None = None,
) -> Verification:
    """Verify the files of a bag, as `verify_bag` does."""
    trusted = Trusted(key=key, authorities=authorities, certified_by=certified_by, policy=policy)
    return _Procedure(files, trusted, progress or (lambda _: None), executor).run()


class _Procedure:
    def __init__(
        self,
        files: BagFiles,
        trusted: Trusted,
        progress: Callable[[int], None],
        executor: Executor | None,
    ) -> None:
        self._files = files
        self._trusted = trusted
        self._progress = progress
        self._executor = executor
        self._steps = Steps()
        self._digests: dict[str, str] = {}
        """The SHA-256 of the files read so far, without the records."""
        self._manifest: Mapping[str, str] = {}
        self._contents = ContentNames(frozenset(files.sizes))
        self._log: LogPlace | None = None
        self._certificate: CertificateFacts | None = None

    def run(self) -> Verification:
        """Take the steps, reading the records once."""
        steps = self._steps
        # 1. Structure and manifests, except for the SHA-256 of the records.
        with steps.of(Step.STRUCTURE):
            self._structure()
        # 2. Envelope and signature.
        sound, statement = Verdict.NOT_VERIFIED, None
        with steps.of(Step.SIGNATURE):
            statement, envelope = read_statement(self._files)
            sound, self._certificate = check_signer(self._files, statement, envelope, self._trusted, steps)
        if statement is None:
            return steps.result(sound, run_id=None, record_count=0)
        # 3. Statement against files, except for the SHA-256 of the records.
        with steps.of(Step.STATEMENT):
            self._statement(statement)
        if not steps.failed(Step.STRUCTURE, Step.SIGNATURE, Step.STATEMENT):
            self._use(statement)
        # 11. Verdict.
        facts = statement.facts
        return steps.result(
            sound,
            run_id=facts.run_id if isinstance(facts, RunFacts) else None,
            record_count=statement.record_count,
            statement=statement.sha256,
            scope=None if isinstance(facts, RunFacts) else facts.scope,
            log=self._log,
            certificate=self._certificate,
        )

    def _use(self, statement: Statement) -> None:
        """Take the steps that use the bag's own documents."""
        # 6, first half: the leaf hashes lead to the root in the statement.
        with self._steps.of(Step.ROOT):
            self._check_root(statement)
        # 4, 7 to 9, and the second half of 6, line by line. The same reading completes 1 and 3.
        checker = self._read_records(statement)
        # 5. Counts.
        if checker is not None:
            with self._steps.of(Step.COUNTS):
                self._counts(statement, checker)
        # 10. Log of runs.
        if isinstance(statement.facts, RunFacts):
            with self._steps.of(Step.LOG):
                self._log, detail = check_log_place(self._files, statement.facts, self._trusted.policy)
                if self._log is None:
                    self._steps.not_part(Step.LOG, detail=detail)
                else:
                    self._steps.passed(Step.LOG, detail)

    def _structure(self) -> None:
        if self._files.read(bag.BAGIT) != bag.BAGIT_TEXT:
            raise EvidenceError(bag.BAGIT, "expected BagIt 1.0 in UTF-8, got another declaration")
        for name in self._files.sizes:
            if name != bag.RECORDS:
                self._digests[name] = self._files.sha256(name)
        payload = {name for name in self._files.sizes if name.startswith(bag.PAYLOAD)}
        tags = self._files.sizes.keys() - payload - _UNLISTED
        self._manifest = bag.parse_manifest(self._files.read(bag.MANIFEST), bag.MANIFEST)
        self._compare(self._manifest, payload, bag.MANIFEST)
        self._compare(bag.parse_manifest(self._files.read(bag.TAG_MANIFEST), bag.TAG_MANIFEST), tags, bag.TAG_MANIFEST)
        if {bag.ENVELOPE, bag.STATEMENT} <= self._files.sizes.keys():
            raise EvidenceError(bag.STATEMENT, f"expected no unsigned statement beside {bag.ENVELOPE}, got one")
        size = sum(self._files.sizes.values())
        self._steps.passed(Step.STRUCTURE, f"{len(self._files.sizes)} files, {size:,} bytes")

    def _statement(self, statement: Statement) -> None:
        names = self._files.sizes.keys() - _NOT_SUBJECTS
        self._compare(statement.subjects, names, self._statement_name)
        check_names(self._digests)
        has_salts = bag.SALTS in self._files.sizes
        if statement.version >= LEAF_SALTS_SINCE and statement.salted != has_salts:
            expected = "true" if has_salts else "false"
            problem = f"expected {expected}, as {bag.SALTS} is {'' if has_salts else 'not '}there"
            raise EvidenceError(f"{self._statement_name}: salted", problem)
        facts = statement.facts
        if not isinstance(facts, RunFacts):
            self._steps.passed(Step.STATEMENT, f"{len(names)} files; a database as found, read at {facts.read_at}")
            return
        if not facts.complete:
            problem = "expected true, got false: the export says that it is incomplete"
            raise EvidenceError(f"{self._statement_name}: complete", problem)
        schema = self._digests.get(bag.SCHEMA)
        epoch = f"epoch {facts.epoch}, whose schema has the SHA-256 {schema}"
        self._steps.passed(Step.STATEMENT, f"{len(names)} files; {epoch}")

    @property
    def _statement_name(self) -> str:
        return bag.ENVELOPE if bag.ENVELOPE in self._files.sizes else bag.STATEMENT

    def _compare(self, listed: Mapping[str, str], names: Iterable[str], place: str) -> None:
        """Compare the files with a manifest or the statement.

        The records have not been read yet, and are compared only by name.
        """
        found = {name: self._digests.get(name) for name in names}
        if bag.RECORDS in found:
            found[bag.RECORDS] = listed.get(bag.RECORDS)
        compare_files(listed, found, place)

    def _check_root(self, statement: Statement) -> None:
        size = self._files.sizes.get(bag.LEAVES, 0)
        if size != HASH_SIZE * statement.record_count:
            expected = f"expected {HASH_SIZE} bytes for each of {statement.record_count:,} records"
            raise EvidenceError(bag.LEAVES, f"{expected}, got {size:,} bytes")
        root = compute_root(self._files.blocks(bag.LEAVES), self._executor).hex()
        if root != statement.root:
            raise EvidenceError(bag.LEAVES, f"expected the root {statement.root} as in the statement, got {root}")

    def _read_records(self, statement: Statement) -> TrailChecker | FoundChecker | None:
        """Check every line.

        Returns the checker, or None if a line is at fault.
        """
        digest = sha256()
        checker: TrailChecker | FoundChecker | None = None

        def hashed() -> Iterator[bytes]:
            for block in self._files.blocks(bag.RECORDS):
                digest.update(block)
                self._contents.read(block)
                yield block

        blocks = hashed()
        with self._steps.of(Step.LINES):
            is_run = isinstance(statement.facts, RunFacts)
            checker = self._check_run(blocks, statement) if is_run else self._check_database(blocks, statement)
        # Steps 1 and 3 compare the hash of the whole file even if a line is at fault.
        with self._steps.of(Step.STRUCTURE):
            for _ in blocks:
                pass
            compare_records(self._manifest, digest.hexdigest(), bag.MANIFEST)
        with self._steps.of(Step.STATEMENT):
            compare_records(statement.subjects, digest.hexdigest(), self._statement_name)
        return checker

    def _check_run(self, blocks: Iterator[bytes], statement: Statement) -> TrailChecker:
        """Take the steps about the lines of a run."""
        documents = Documents(
            schema=self._files.read(bag.SCHEMA),
            references=self._files.read(bag.REFERENCES),
            salts=self._salts(),
            version=statement.version,
        )
        trail = documents.checker()
        check_epochs(statement, documents, self._statement_name)
        leaves = self._leaves()
        crate = CrateCheck(self._files, statement.counts)
        examined = crate.watch(examine(read_batches(blocks, leaves), documents, self._executor))
        self._check_lines(trail, examined, documents.leaf_hasher(), statement)
        with self._steps.of(Step.REFERENCES):
            described = f"{crate.describe()}{self._contents.describe()}"
            self._steps.passed(Step.REFERENCES, f"all lead to records in the bag{described}")
        with self._steps.of(Step.LIFECYCLES):
            self._steps.passed(Step.LIFECYCLES, trail.lifecycles())
            self._steps.passed(Step.ACCOUNTING, trail.accounting(self._recorded_epoch(statement)))
        return trail

    def _check_database(self, blocks: Iterator[bytes], statement: Statement) -> FoundChecker:
        """Take the steps about the lines of a database."""
        if self._files.read(bag.SCHEMA) != record_schema():
            raise StepError(Step.STATEMENT, bag.SCHEMA, "expected the schema of a database as found, got another")
        salts, checker = self._salts(), FoundChecker()
        hasher = LeafHasher(None if salts is None else Salts.from_bytes(salts, bag.SALTS, statement.version))
        examined = examine(read_batches(blocks, self._leaves()), None, None)
        self._check_lines(checker, examined, hasher, statement)
        pass_over(self._steps)
        return checker

    def _salts(self) -> bytes | None:
        return self._files.read(bag.SALTS) if bag.SALTS in self._files.sizes else None

    def _leaves(self) -> Iterator[bytes] | None:
        """Return the leaf hashes, or None if their root differed."""
        return None if self._steps.failed(Step.ROOT) else self._files.blocks(bag.LEAVES)

    def _check_lines(
        self,
        checker: TrailChecker | FoundChecker,
        examined: Iterator[tuple[LineBatch, Findings]],
        hasher: LeafHasher,
        statement: Statement,
    ) -> None:
        number = 0
        for batch, findings in examined:
            altered = None if findings.sealed else find_altered(batch, hasher)
            if altered is not None:
                # The line itself is checked first: its own fault says more than that it was altered.
                checker.check(number + 1, batch.lines[: altered[0] + 1])
                raise leaf_error(number + 1 + altered[0], *altered[1:])
            taken = checker.take(findings.segments)
            if taken < batch.size:
                checker.check(number + 1 + taken, batch.lines[taken:])
            number += batch.size
            self._progress(number)
        if not self._steps.failed(Step.ROOT):
            if number != statement.record_count:
                problem = f"expected {statement.record_count:,} lines, as the statement counts, got the end"
                raise StepError(Step.ROOT, f"{bag.RECORDS}, line {number + 1}", problem)
            self._steps.passed(Step.ROOT, statement.root)
        salts = "no salts" if bag.SALTS not in self._files.sizes else "salts derived"
        self._steps.passed(Step.LINES, f"{number:,} records, {salts}")

    def _recorded_epoch(self, statement: Statement) -> int | None:
        """Return the epoch in which the run was sealed."""
        if statement.version > 1:
            return statement.run.recorded_epoch
        # The first release gave a secret to every run that it recorded, and to no other.
        return statement.run.epoch if bag.SALTS in self._files.sizes else None

    def _counts(self, statement: Statement, checker: TrailChecker | FoundChecker) -> None:
        facts: list[tuple[str, object, object]]
        if isinstance(checker, TrailChecker):
            run = statement.run
            facts = [("run_id", run.run_id, checker.run_id), ("status of the run", run.run_status, checker.run_status)]
        else:
            facts = [("database", statement.facts, checker.facts)]
        for name in sorted(statement.counts.keys() | checker.counts.keys()):
            facts.append((f"{name} records", statement.counts.get(name, 0), checker.counts[name]))
        for what, expected, got in facts:
            if expected != got:
                problem = f"expected {shown(expected)} as in the statement, got {shown(got)}"
                raise EvidenceError(bag.RECORDS, f"{printable(what)}: {problem}")
        what = f"{len(checker.counts)} types"
        if isinstance(checker, FoundChecker):
            what = counted(checker.counts)
        self._steps.passed(Step.COUNTS, f"{checker.counts.total():,} records of {what}")
