"""A secret is recognised in every encoding."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.known_secret import LEAST_PART, LEAST_SECRET, KnownSecret

SECRET = "sk-Proj_1\"2\\3/+=%&<'>nTu0041-xYz"

Spelling = Callable[[str], str]


def in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


SPELLINGS: dict[str, Spelling] = {
    "unchanged": str,
    "upper case": str.upper,
    "swapped case": str.swapcase,
    "JSON": in_json,
    "JSON in JSON": lambda text: in_json(in_json(text)),
    "JSON three times": lambda text: in_json(in_json(in_json(text))),
    "JSON with escaped slashes": lambda text: in_json(text).replace("/", "\\/"),
    "JSON with all escaped": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    "JSON with all escaped in capitals": lambda text: "".join(f"\\u{ord(each):04X}" for each in text),
    "Python": lambda text: repr(text.encode())[2:-1],
    "bytes": lambda text: "".join(f"\\x{ord(each):02x}" for each in text),
    "URL": quote,
    "URL with all escaped": lambda text: "".join(f"%{ord(each):02x}" for each in text),
    "URL in capitals": lambda text: quote(text, safe=""),
    "URL twice": lambda text: quote(quote(text, safe=""), safe=""),
    "HTML": html.escape,
    "HTML in JSON": lambda text: in_json(html.escape(text)).replace("&", "\\u0026"),
    "HTML by numbers": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "HTML by hexadecimal numbers": lambda text: "".join(f"&#x{ord(each):X};" for each in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of a header": lambda text: base64.b64encode(f"Bearer {text}\r\n".encode()).decode(),
    "base64 of user and password": lambda text: base64.b64encode(f":{text}".encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(f"ab{text}".encode()).decode().rstrip("="),
    "base64 in JSON": lambda text: base64.b64encode(text.encode()).decode().replace("/", "\\/"),
    "base64 in a URL": lambda text: quote(base64.b64encode(text.encode()).decode(), safe=""),
    "base64 in lines": lambda text: base64.encodebytes((40 * "x" + text).encode()).decode(),
    "base64 in lines in JSON": lambda text: in_json(base64.encodebytes((40 * "x" + text).encode()).decode()),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal in capitals": lambda text: text.encode().hex(" ").upper(),
    "UTF-16 read as UTF-8": lambda text: text.encode("utf-16-le").decode(),
    "in lines": "\r\n  ".join,
}
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=LEAST_SECRET, max_size=60)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_recognised_in_every_encoding(spelling: str) -> None:
    assert KnownSecret(SECRET).is_in(f"<{SPELLINGS[spelling](SECRET)}>")


@given(secret=VISIBLE, spelling=st.sampled_from(sorted(SPELLINGS)), before=st.sampled_from(["", " ", "<", '"']))
def test_any_secret_is_recognised_in_any_encoding(secret: str, spelling: str, before: str) -> None:
    assert KnownSecret(secret).is_in(f"{before}{SPELLINGS[spelling](secret)}{before}")


WORDS = st.text(st.sampled_from("abcXYZ019-_./+"), min_size=LEAST_PART + 1, max_size=60)
KINDS = st.sampled_from(["unchanged", "URL", "JSON with all escaped", "base64", "hexadecimal", "HTML by numbers"])


@given(secret=WORDS, spelling=KINDS, data=st.data())
def test_a_part_of_at_least_twelve_characters_is_recognised(secret: str, spelling: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(secret) - LEAST_PART))
    end = data.draw(st.integers(start + LEAST_PART, len(secret)))
    assert KnownSecret(secret).is_in(f"...{SPELLINGS[spelling](secret[start:end])}***")


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("EMPTY", "The result is EMPTY"),
        ("sk-no-key-required", "A password is required."),
        ("sk-proj-0123456789abcdef", "Incorrect API key provided: sk-proj-***********cdef"),
        ("sk-proj-0123456789abcdef", "0123456789"),
    ],
)
def test_ordinary_text_and_short_parts_are_not_taken_for_a_secret(secret: str, text: str) -> None:
    assert not KnownSecret(secret).is_in(text)


@pytest.mark.parametrize("letter", "bfnrt")
def test_a_secret_behind_a_backslash_is_recognised(letter: str) -> None:
    """It may be an escape, or not."""
    secret = f"{letter}ever-told"
    assert len(secret) < LEAST_PART
    assert KnownSecret(secret).is_in(f"C:\\{secret}")
    assert KnownSecret(secret).is_in(f"line\\n{secret}")


@given(st.text(st.sampled_from("\\u00%25&#;xn4aA \n")))
def test_any_text_can_be_searched(text: str) -> None:
    assert KnownSecret("0123456789").is_in(text) in {True, False}
