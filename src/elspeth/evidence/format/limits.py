"""Limits on the work that evidence demands of its verifier.

Every limit is several times what bags of this release need. Within the limits, the work is proportional to the size of
the bag.
"""

from __future__ import annotations

__all__ = [
    "MAX_CHOICES",
    "MAX_COLUMNS",
    "MAX_CONTENTS",
    "MAX_DEFINITIONS",
    "MAX_DIRECTORY",
    "MAX_DOCUMENT",
    "MAX_FACTOR",
    "MAX_FIELDS",
    "MAX_FILES",
    "MAX_LINE",
    "MAX_NOTE",
    "MAX_NOTE_SIGNATURES",
    "MAX_PATTERN",
    "MAX_PATTERNS",
    "MAX_POLICY",
    "MAX_POLICY_NAMES",
    "MAX_PROOF",
    "MAX_PROOF_HASHES",
    "MAX_REFERENCES",
    "MAX_SHAPES",
    "MAX_TYPES",
    "MAX_UNPACKED",
    "MAX_VARIANTS",
    "MAX_WINDOW_LOG",
]

MAX_FILES = 15_000
"""Files of a bag. It has about a dozen, and may also hold contents; a longer list could fill the memory."""

MAX_CONTENTS = MAX_FILES - 100
"""Contents of rows and calls that the writer puts into a bag."""

MAX_DOCUMENT = 4 << 20
"""Bytes of a file that is read as a whole. The largest are statement and manifests: 230 bytes for each file."""

MAX_PROOF = 8 << 20
"""Bytes of a proof. It takes a few kilobytes in addition to the record."""

MAX_NOTE = 256 << 10
"""Bytes of a signed note. Sixteen signatures of post-quantum keys, which must be accepted, take 100 kB."""

MAX_NOTE_SIGNATURES = 100
"""Signatures of a note: one by the log, and one by each of its witnesses."""

MAX_POLICY = 1 << 20
"""Bytes of a policy."""

MAX_POLICY_NAMES = 1000
"""Logs, witnesses and groups of a policy. The specification requires room for 32 of each."""

MAX_PROOF_HASHES = 63
"""Hashes of a proof about a log: no tree of up to 2^63 leaves is deeper."""

MAX_LINE = 64 << 20
"""Bytes of a line. Memory holds several copies of a record while it is checked."""

MAX_FACTOR = 100
"""How many times larger than its file a zipped bag or a compressed export may be.

Records are compressed by a factor of 3 to 10.
"""

MAX_UNPACKED = 1 << 30
"""Decompressed bytes below which `MAX_FACTOR` does not apply, as reading them takes only seconds."""

MAX_DIRECTORY = 4 << 20
"""Bytes of the central directory of an archive, which takes about a hundred for each file."""

MAX_WINDOW_LOG = 23
"""Binary logarithm of the window of a Zstandard frame, in bytes: 8 MiB, as RFC 8878 (section 3.1.1.1.2) recommends."""

MAX_TYPES = 100
"""Record types. Epoch 5 has 19."""

MAX_DEFINITIONS = 400
"""Definitions, and alternatives, in a schema. Epoch 5 has 40 definitions and 23 alternatives."""

MAX_SHAPES = 8
"""Shapes of one record type. A node state has four; a line that no pattern recognises is compared with each."""

MAX_VARIANTS = 16
"""Patterns of one shape: the product of its groups of which one field is not null. A call has two."""

MAX_FIELDS = 200
"""Fields of a shape."""

MAX_CHOICES = 200
"""Values of an enumeration."""

MAX_PATTERN = 1000
"""Characters that a pattern of a schema can match. A SHA-256 has 64."""

MAX_PATTERNS = 1 << 20
"""Characters of all regular expressions made from a schema: about 60,000 for epoch 5."""

MAX_COLUMNS = 8
"""Columns of a key or an order."""

MAX_REFERENCES = 16
"""References of a record type."""
