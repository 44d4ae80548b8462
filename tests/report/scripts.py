"""The verdicts of the page's modules, in a browser."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elspeth.evidence.format.signatures import PublicKey
from elspeth.report.scripts import script_of
from tests.fixtures.browser import Browser, Tab, opened_tab

__all__ = ["Verdict", "bytes_in", "check_archive", "check_bags", "open_script", "to_bytes"]

_HELPERS = """
const bytesIn = (text) => Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
async function* inParts(bytes) {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}
function bagOf(files) {
  return new BagFiles(Object.entries(files).map(([name, bytes]) => [name, bytes.length, () => inParts(bytes)]));
}
const unpacked = (files) => Object.fromEntries(Object.entries(files).map(([name, text]) => [name, bytesIn(text)]));
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict of the page on a bag."""

    verdict: str
    text: str
    steps: dict[int, tuple[str, str]]


@contextmanager
def open_script(browser: Browser, directory: Path, module: str) -> Iterator[Tab]:
    """Open a page from disk with a module.

    All that the module imports is there, too.
    """
    page = directory / "empty.html"
    page.write_text("<!doctype html><meta charset=utf-8><title>empty</title>", encoding="utf-8")
    with opened_tab(browser) as tab:
        tab.open(page)
        tab.evaluate(script_of(module) + _HELPERS)
        yield tab


def bytes_in(data: bytes) -> str:
    """Return a JavaScript expression for bytes."""
    return f"bytesIn({json.dumps(_base64(data))})"


def to_bytes(found: str) -> bytes:
    """Return the bytes of hexadecimal text."""
    return bytes.fromhex(found)


def check_bags(
    tab: Tab, base: Mapping[str, bytes], bags: Iterable[Mapping[str, bytes]], key: PublicKey | None
) -> list[Verdict]:
    """Return the verdict of the page on each bag.

    Only what differs from the base is sent to the browser.
    """
    changes = []
    for files in bags:
        changed = {name: _base64(content) for name, content in files.items() if base.get(name) != content}
        changes.append([changed, [name for name in base if name not in files]])
    pem = "null" if key is None else f"await VerifyingKey.fromPem({json.dumps(key.pem.decode())}, 'key')"
    script = f"""
    (async () => {{
      const key = {pem};
      const base = unpacked({json.dumps({name: _base64(content) for name, content in base.items()})});
      const results = [];
      for (const [changed, removed] of {json.dumps(changes)}) {{
        const files = {{ ...base, ...unpacked(changed) }};
        for (const name of removed) delete files[name];
        results.push(await verifyBag(bagOf(files), key));
      }}
      return results;
    }})()
    """
    return [_verdict(found) for found in tab.evaluate(script, timeout=300)]


def check_archive(tab: Tab, archive: bytes, key: PublicKey | None) -> Verdict | str:
    """Return the verdict of the page on an archive.

    A text says why it is refused.
    """
    pem = "null" if key is None else f"await VerifyingKey.fromPem({json.dumps(key.pem.decode())}, 'key')"
    script = f"""
    (async () => {{
      try {{
        return await verifyBag(await BagFiles.ofArchive(new Blob([{bytes_in(archive)}])), {pem});
      }} catch (error) {{
        if (error instanceof EvidenceError) return error.message;
        throw error;
      }}
    }})()
    """
    found = tab.evaluate(script)
    return found if isinstance(found, str) else _verdict(found)


def _verdict(found: Mapping[str, Any]) -> Verdict:
    steps = {number: (step["status"], step["detail"]) for number, step in enumerate(found["steps"], start=1)}
    return Verdict(verdict=found["verdict"], text=found["text"], steps=steps)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
