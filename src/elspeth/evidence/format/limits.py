"""How much a bag may ask of whoever verifies it.

Every bound is several times what a bag of ours has. Within them the work grows with the size of the bag, no faster.
"""

from __future__ import annotations

__all__ = [
    "MAX_CHOICES",
    "MAX_COLUMNS",
    "MAX_DEFINITIONS",
    "MAX_DOCUMENT",
    "MAX_FACTOR",
    "MAX_FIELDS",
    "MAX_FILES",
    "MAX_LINE",
    "MAX_PATTERN",
    "MAX_PATTERNS",
    "MAX_PROOF",
    "MAX_REFERENCES",
    "MAX_SHAPES",
    "MAX_TYPES",
    "MAX_UNPACKED",
    "MAX_VARIANTS",
]

MAX_FILES = 1000
"""Files of a bag, which has about a dozen: a list of them must not fill the memory."""

MAX_DOCUMENT = 1 << 20
"""Bytes of a file that is read as a whole; the schema, the largest of them, takes 60 kB."""

MAX_PROOF = 8 << 20
"""Bytes of a proof: some kilobytes, and a record with its texts."""

MAX_LINE = 64 << 20
"""Bytes of a line: a record with its texts is held in memory several times while it is checked."""

MAX_FACTOR = 100
"""How much larger than its archive a bag may be: records are full of hashes and deflate by a factor of 3 to 10."""

MAX_UNPACKED = 1 << 30
"""Bytes up to which a bag may be larger than its archive by any factor: reading them takes seconds."""

MAX_TYPES = 100
"""Record types; epoch 5 has 19."""

MAX_DEFINITIONS = 400
"""Definitions in a schema, which has 40, and alternatives, of which it has 23."""

MAX_SHAPES = 8
"""Shapes of one record type; a node state has four. A line that no pattern recognises is compared with all of them."""

MAX_VARIANTS = 16
"""Patterns of one shape: the choices of which fields are not null, multiplied. A call has two."""

MAX_FIELDS = 200
"""Fields of a shape."""

MAX_CHOICES = 200
"""Values of an enumeration."""

MAX_PATTERN = 1000
"""Characters that a pattern of a schema can match; a SHA-256 has 64."""

MAX_PATTERNS = 1 << 20
"""Characters of all regular expressions that a schema's shapes are turned into, about 60,000 for epoch 5."""

MAX_COLUMNS = 8
"""Columns of a key or an order."""

MAX_REFERENCES = 16
"""References of a record type."""
