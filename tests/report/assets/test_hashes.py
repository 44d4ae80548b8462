"""The page's hashes are those of Python and the standards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256, shake_256

from elspeth.evidence.format.merkle import tree_root
from elspeth.evidence.format.salts import LeafHasher, Salts
from tests.fixtures.browser import Tab
from tests.report.scripts import bytes_in

SIZES = (0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 135, 136, 137, 272, 1000)


def some_bytes(size: int) -> bytes:
    return shake_256(b"elspeth").digest(size)


def test_sha256_gives_the_examples_of_the_standard(code: Tab) -> None:
    """Take the tests of RFC 6234, section 8.5."""
    two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    script = "toHex(sha256(new TextEncoder().encode({})))"
    assert code.evaluate(script.format("'abc'")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (
        code.evaluate(script.format(f"'{two_blocks}'"))
        == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    )
    assert (
        code.evaluate(script.format("'a'.repeat(1000000)"))
        == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    )


def test_shake256_gives_the_examples_of_the_standard(code: Tab) -> None:
    """Take NIST's examples for messages of 0 and 1600 bits."""
    assert code.evaluate("toHex(shake256(new Uint8Array(0), 32))") == (
        "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762f"
    )
    assert code.evaluate("toHex(shake256(new Uint8Array(200).fill(0xa3), 32))") == (
        "cd8a920ed141aa0407a22d59288652e9d9f1a7ee0c1e7c1ca699424da84a904d"
    )


def test_hashes_of_texts_of_any_size_are_those_of_python(code: Tab) -> None:
    found = code.evaluate(
        f"""{json.dumps(SIZES)}.map((size) => {{
          const bytes = {bytes_in(some_bytes(max(SIZES)))}.subarray(0, size);
          const inParts = new Sha256();
          for (let at = 0; at < size; at += 7) inParts.update(bytes, at, Math.min(size, at + 7));
          return [toHex(sha256(bytes)), toHex(inParts.digest()), toHex(shake256(bytes, size))];
        }})"""
    )
    data = [some_bytes(size) for size in SIZES]
    digests = [sha256(each).hexdigest() for each in data]
    assert found == [
        [digest, digest, shake_256(each).hexdigest(len(each))] for digest, each in zip(digests, data, strict=True)
    ]


def test_lengths_above_4_gibibits_are_hashed_correctly(code: Tab) -> None:
    """Compare the padding; the state is made up."""
    script = """(() => {
      const hasher = new Sha256();
      hasher.size = 2 ** 29 + 64;
      return toHex(hasher.digest());
    })()"""
    padding = b"\x80" + bytes(55) + (8 * (2**29 + 64)).to_bytes(8, "big")
    direct = f"""(() => {{
      const hasher = new Sha256();
      hasher.update({bytes_in(padding)});
      return Array.from(hasher.state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
    }})()"""
    assert code.evaluate(script) == code.evaluate(direct)


def test_roots_of_trees_of_any_size_are_those_of_python(code: Tab) -> None:
    """`evidence/format/merkle.py` is tested against the examples of RFC 9162."""
    leaves = [sha256(bytes([number])).digest() for number in range(70)]
    found = code.evaluate(
        f"""(() => {{
          const leaves = {bytes_in(b"".join(leaves))};
          const tree = new TreeHasher();
          const roots = [toHex(tree.root())];
          for (let at = 0; at < leaves.length; at += 32) {{
            tree.add(leaves, at);
            roots.push(toHex(tree.root()));
          }}
          return roots;
        }})()"""
    )
    assert found == [tree_root(leaves[:size]).hex() for size in range(len(leaves) + 1)]


def test_leaf_hashes_with_and_without_salts_are_those_of_python(code: Tab) -> None:
    lines = [b'{"line":%d}' % number * (number % 3) for number in range(2100)]
    for secret in (None, "a secret: \u00fc"):
        python = LeafHasher(None if secret is None else Salts(secret=secret, version=3))
        hashes = python.hashes(0, lines)
        expected = [len(lines), tree_root(hashes).hex(), sha256(b"".join(hashes)).hexdigest()]
        assert hashed(code, lines, secret) == expected
        assert hashed(code, lines, secret, workers=LAST_FIRST) == expected


def test_long_lines_are_hashed_in_smaller_batches(code: Tab) -> None:
    """A piece ends after a mebibyte, not at salts' blocks."""
    lines = [bytes([65 + number % 26]) * (300_000 * (number % 2)) for number in range(10)]
    hashes = LeafHasher(Salts(secret="secret", version=3)).hashes(0, lines)
    expected = [len(lines), tree_root(hashes).hex(), sha256(b"".join(hashes)).hexdigest()]
    assert hashed(code, lines, "secret", size=99_991, workers=LAST_FIRST) == expected


LAST_FIRST = """{
  ahead: 3,
  asked: 0,
  async hash(piece) {
    const delay = [20, 0, 10][this.asked++ % 3];
    await new Promise((resolve) => setTimeout(resolve, delay));
    return leafHashes(piece);
  },
}"""
"""Workers that answer in another order than they are asked."""


def hashed(code: Tab, lines: Sequence[bytes], secret: str | None, *, size: int = 997, workers: str = "null") -> object:
    """Return number, root and SHA-256 of the lines' hashes.

    The page reads blocks of `size` bytes.
    """
    return code.evaluate(
        f"""(async () => {{
          const hasher = new RecordHasher({json.dumps(secret)}, "records", {workers});
          const bytes = {bytes_in(b"".join(line + bytes([10]) for line in lines))};
          async function* blocks() {{
            for (let at = 0; at < bytes.length; at += {size}) yield bytes.subarray(at, at + {size});
          }}
          const digest = new Sha256();
          for await (const hashes of hasher.hashes(blocks())) digest.update(hashes);
          return [hasher.lines, toHex(hasher.root()), toHex(digest.digest())];
        }})()"""
    )
