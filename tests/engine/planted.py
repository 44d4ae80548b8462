"""Values planted in rows, and searched for elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyarrow import parquet

from elspeth.cli import main
from elspeth.contracts.plugins import (
    Aggregation,
    CallError,
    CallingTransform,
    JsonObject,
    Plugin,
    Source,
    SourceOptions,
    Transform,
    TransformOptions,
)
from elspeth.contracts.rows import InvalidRow, RowData
from elspeth.plugins import manager
from elspeth.plugins.files import FileSink
from elspeth.plugins.json import JsonlSink
from tests.engine.pipelines import Settings

__all__ = ["NAME", "NUMBER", "REAL", "TEXT", "VALUES", "Planted", "found_in", "raised", "settings_of"]

# None of these can occur by chance in ids, hashes, times or words.
TEXT, NAME, NUMBER, REAL = "Zqxjkv-Wert", "Yqxjkv_name", 730288463917, 48151.62342
_MARKS = (b"Zqxjkv", b"Yqxjkv", b"730288463917", b"48151.62342")

VALUES: dict[str, object] = {
    "text": TEXT,
    "long text": f"{TEXT} " * 40,
    "quoted text": f"'{TEXT}\"\n\\ü",
    "whole number": NUMBER,
    "number": REAL,
    "list": [1, [TEXT]],
    "object": {NAME: {"x": NUMBER}},
}


def raised(value: object) -> Iterator[Exception]:
    """Yield errors whose messages contain a value."""
    yield KeyError(value)
    yield ValueError(f"invalid literal for int() with base 10: {value!r}")
    yield OSError(2, f"cannot open {value}", str(value))
    yield OSError(f"no such device: {value}")
    yield type("Custom", (Exception,), {})(value, {"row": value})
    noted = RuntimeError("see the notes")
    noted.add_note(f"the value was {value}")
    yield noted


def _raise(row: RowData) -> None:
    """Raise the error that a row asks for.

    `raise` holds its number, `value` the value.
    """
    if "raise" in row:
        errors = list(raised(row.get("value")))
        raise errors[row["raise"]]  # type: ignore[call-overload]


class Thrower(Transform):
    """A transform that raises errors about values."""

    name = "thrower"
    plugin_version = "1"
    expands = True

    def process(self, row: RowData) -> RowData | list[RowData]:
        """Return the row, or fail as it asks for."""
        _raise(row)
        answers: dict[object, object] = {
            "none": None,
            "value": row.get("value"),
            "items": [row.get("value")],
            "set": row | {"more": {TEXT}},
            "key": row | {"more": {("x", TEXT): 1}},
            "big": row | {"more": NUMBER * 10**12},
        }
        return answers.get(row.get("answer"), row)  # type: ignore[return-value]


class BatchThrower(Aggregation):
    """An aggregation that raises errors about values."""

    name = "batch_thrower"
    plugin_version = "1"

    def process(self, rows: list[RowData]) -> list[RowData]:
        """Return the rows, or raise what one asks for."""
        for row in rows:
            _raise(row)
        return rows


class ThrowingCaller(CallingTransform):
    """A calling transform that raises errors about requests."""

    name = "throwing_caller"
    plugin_version = "1"
    options_model = TransformOptions

    @property
    def service(self) -> str:
        """Name the service."""
        return "nobody"

    def request(self, row: RowData) -> JsonObject:
        """Return the row."""
        if row.get("at") == "request":
            _raise(row)
        return row

    def send(self, request: JsonObject) -> JsonObject:
        """Return the request, or fail as it asks for."""
        if request.get("at") == "send":
            _raise(dict(request))
        if request.get("at") == "call":
            raise CallError("the server answered 400", is_retryable=False, answer={"body": request["value"]})
        return request

    def result(self, row: RowData, response: JsonObject) -> RowData:  # noqa: ARG002  the row says it all
        """Return the row."""
        if row.get("at") == "result":
            _raise(row)
        return row


class ThrowingRows(FileSink):
    """A sink that raises an error for each row."""

    name = "throwing_rows"
    plugin_version = "1"

    def render(self, row: RowData) -> bytes:
        """Raise an error about the row."""
        raise ValueError(f"invalid literal: {row}")

    def ending(self) -> bytes:
        """End the file with nothing."""
        return b""


class _RaisingOptions(SourceOptions):
    number: int = 0


class RaisingSource(Source):
    """A source that yields a row, then an error."""

    name = "raising_source"
    plugin_version = "1"
    options_model = _RaisingOptions

    def __init__(self, options: _RaisingOptions) -> None:
        super().__init__(options)
        self._number = options.number

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield a row, then raise an error."""
        yield {"value": TEXT}
        raise list(raised(TEXT))[self._number]


class _RaisingSink(JsonlSink):
    plugin_version = "1"
    stage = ""

    def _maybe(self, stage: str) -> None:
        if self.stage == stage:
            raise LookupError(f"no place for {TEXT} and {NUMBER}")

    def render(self, row: RowData) -> bytes:
        self._maybe("render")
        return super().render(row)

    def sync(self) -> None:
        self._maybe("sync")
        super().sync()

    def publish(self) -> None:
        self._maybe("publish")
        super().publish()


def _raising_sink(stage: str) -> type[Plugin]:
    return type(f"Raising{stage}", (_RaisingSink,), {"name": f"raising_{stage}", "stage": stage, "__doc__": "Raises."})


RAISING_SINKS = ("raising_render", "raising_sync", "raising_publish")
PLUGINS: tuple[type[Plugin], ...] = (
    Thrower,
    BatchThrower,
    ThrowingCaller,
    ThrowingRows,
    RaisingSource,
    *map(_raising_sink, ("render", "sync", "publish")),
)


def settings_of(datasource: dict[str, Any], *, sink: dict[str, Any] | None = None, **sections: object) -> Settings:
    """Return settings with a source, sections, and one sink."""
    return {
        "datasource": datasource,
        "sinks": {"out": sink or {"plugin": "jsonl", "options": {"path": "out.jsonl"}}},
        "output_sink": "out",
        "retry": {"max_attempts": 1},
        "landscape": {"url": "sqlite:///audit.db"},
        **sections,
    }


class Planted:
    """Runs pipelines, and collects everything shown or exported of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        monkeypatch.setattr(manager, "_offered_plugins", lambda: iter(PLUGINS))

    def run(self, settings: Settings, *, url: str = "sqlite:///audit.db") -> dict[str, bytes]:
        """Run a pipeline, and return everything it shows or exports."""
        settings["landscape"] = {"url": url}
        Path("settings.yaml").write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        found = dict(self._command("run", "run", "-s", "settings.yaml", "-x", "--json"))
        return found | self._exports(url, "jsonl")

    def look_everywhere(self, url: str = "sqlite:///audit.db") -> dict[str, bytes]:
        """Return everything that other commands show about the newest run."""
        found = dict(self._command("resume", "resume", "latest", "-s", "settings.yaml"))
        found |= self._command("runs", "landscape", "runs", "-d", url)
        return found | self._exports(url, "json", "csv", "parquet", "bag") | self._stories(url) | self._proofs()

    def _exports(self, url: str, *forms: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for form in forms:
            found |= self._command(f"export {form}", "export", "latest", "-d", url, "--format", form, "-o", f"e_{form}")
            found |= _files(Path(f"e_{form}"))
        return found

    def withheld(self, url: str = "sqlite:///audit.db") -> bytes:
        """Return the export that includes withheld columns."""
        assert main(["export", "latest", "-d", url, "--include-payloads", "-o", "full.jsonl"]) == 0
        self._capsys.readouterr()
        return Path("full.jsonl").read_bytes()

    def _command(self, name: str, *arguments: str) -> Iterator[tuple[str, bytes]]:
        main(arguments)
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        yield f"{name}: stdout", captured.out.encode()
        yield f"{name}: stderr", captured.err.encode()

    def _stories(self, url: str) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for index in range(sum(record["record_type"] == "row" for record in _records())):
            for form in ([], ["--json"]):
                found |= self._command(f"explain {index} {form}", "explain", "--row", str(index), "-d", url, *form)
        return found

    def _proofs(self) -> dict[str, bytes]:
        """Return proofs of the first error and first failed visit."""
        found: dict[str, bytes] = {}
        keys = {"validation_error": "error_id", "transform_error": "error_id", "node_state": "state_id"}
        for kind, key in keys.items():
            first = next((each[key] for each in _records() if each["record_type"] == kind), None)
            if first is not None:
                found |= self._command(f"prove {kind}", "prove", "e_bag", kind, first, "-o", f"proof_{kind}.json")
                found |= _files(Path(f"proof_{kind}.json"))
        return found


def _records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("e_jsonl").read_text().splitlines()]


def _files(path: Path) -> dict[str, bytes]:
    paths = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    return {
        str(each): repr(parquet.read_table(each).to_pylist()).encode()
        if each.suffix == ".parquet"
        else each.read_bytes()
        for each in paths
    }


def found_in(shown: dict[str, bytes]) -> list[str]:
    """Return where planted values occur, with the surrounding text."""
    places = []
    for name, content in shown.items():
        for mark in _MARKS:
            at = content.find(mark)
            if at >= 0:
                places.append(f"{name}: ...{content[max(at - 120, 0) : at + 40].decode(errors='replace')}...")
    return places
