"""Makes the recorded reasons of gates.

If the run keeps contents, a reason includes the values that the gate read. Its hash is in every export, and a value
such as an age could be guessed from a hash. So the reason also has a salt, which is part of the content.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping

from elspeth.core.canonical import CanonicalText, canonical_bytes
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.sealing.seal import read_secret

__all__ = ["Reasons", "read_reason_key"]

_SALT_SIZE = 16


def read_reason_key(db: LandscapeDB, run_id: str) -> bytes | None:
    """Return the key of the salts of a run's reasons.

    Returns None for a run without a secret, which an early release began.
    """
    with db.connection() as connection:
        secret = read_secret(connection, run_id)
    return None if secret is None else hmac.digest(secret.encode(), b"reasons of gates", "sha256")


class Reasons:
    """Makes the reasons of one gate."""

    def __init__(self, condition: str, key: bytes | None) -> None:
        self._condition = condition
        self._key = key
        self._made: dict[tuple[type, str], CanonicalText] = {}

    @property
    def have_values(self) -> bool:
        """Whether contents are kept, so that values are recorded."""
        return self._key is not None

    def decision(self, value: object, label: str) -> CanonicalText:
        """Return the reason without values, cached by result.

        There are few results, because results without a route were refused before.
        """
        key = (type(value), label)  # True is equal to 1, and -0.0 to 0.0
        reason = self._made.get(key)
        if reason is None:
            reason = CanonicalText.of(self._decided(value, label))
            if isinstance(value, str | int | float | None):  # type and label determine values of these types
                self._made[key] = reason
        return reason

    def with_values(
        self, value: object, label: str, row: Mapping[str, object], asked: Collection[str]
    ) -> CanonicalText:
        """Return the reason with the fields that were read.

        Its member `absent` lists those that the row lacks. The same values have the same salt everywhere in the run, in
        all processes.
        """
        told = {
            **self._decided(value, label),
            "values": {name: row[name] for name in asked if name in row},
            "absent": [name for name in asked if name not in row],
        }
        salt = hmac.digest(self._key or b"", canonical_bytes(told), "sha256")[:_SALT_SIZE]
        return CanonicalText.of({**told, "salt": salt.hex()})

    def _decided(self, value: object, label: str) -> dict[str, object]:
        return {"condition": self._condition, "result": value, "label": label}
