"""Converts settings from the positional to the wired form.

Sections that are the same in both forms keep their text, including comments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import yaml

from elspeth.contracts.enums import RoutingMode
from elspeth.contracts.routing import CONTINUE, DISCARD, FORK
from elspeth.core.settings._yaml_file import PlainValue
from elspeth.core.settings.graph import wire
from elspeth.core.settings.model import PositionalSettings
from elspeth.core.settings.wiring import Place, Wire

__all__ = ["Conversion", "convert_settings"]

_REPLACED = ("datasource", "output_sink", "row_plugins", "aggregations", "gates", "coalesce")
_ENDS = ("datasource", "sinks")
_SHARING = (yaml.AnchorToken, yaml.AliasToken)
_WIDTH = 120

_Tree = dict[str, PlainValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """Wired settings, and the number of comment lines lost."""

    text: str
    lost_comments: int


def convert_settings(text: str, tree: Mapping[str, PlainValue], settings: PositionalSettings) -> Conversion:
    """Return settings in the wired form.

    `tree` holds the settings of the text before variables are replaced.
    """
    converted = _converted(text, tree, _Converter(tree, settings).sections())
    return Conversion(text=converted, lost_comments=_count_comments(text) - _count_comments(converted))


def _converted(text: str, tree: Mapping[str, PlainValue], wired: _Tree) -> str:
    if any(isinstance(token, _SHARING) for token in yaml.scan(text)):
        return _dump({**wired, **{key: value for key, value in tree.items() if key not in _REPLACED}})
    pieces = list(_pieces(text))
    blocks = [piece.text for piece in pieces if piece.key is None]
    blocks += [_dump({key: value}) for key, value in wired.items()]
    blocks += [piece.text for piece in pieces if piece.key is not None and piece.key not in _REPLACED]
    return "\n".join(f"{block.strip()}\n" for block in blocks if block.strip())


def _count_comments(text: str) -> int:
    """Count the lines with comments, which stand between tokens."""
    count = end = 0
    for token in yaml.scan(text):
        count += sum("#" in line for line in text[end : token.start_mark.index].splitlines())
        end = max(end, token.end_mark.index)
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """The lines of a key, or before the first key."""

    key: str | None
    text: str


def _pieces(text: str) -> Iterator[_Piece]:
    """Yield a file's beginning, then the text of each key.

    Comments above a key belong to it.
    """
    root = cast("yaml.MappingNode", yaml.compose(text, Loader=yaml.SafeLoader))
    if root.flow_style:
        tree = yaml.safe_load(text)
        yield from (_Piece(key=key, text=_dump({key: value})) for key, value in tree.items())
        return
    lines = text.splitlines()
    starts = [key.start_mark.line for key, _ in root.value]
    for number in range(1, len(starts)):
        while starts[number] > starts[number - 1] + 1 and _is_comment(lines[starts[number] - 1]):
            starts[number] -= 1
    yield _Piece(key=None, text="\n".join(lines[: starts[0]]))
    for (key, _), start, end in zip(root.value, starts, [*starts[1:], len(lines)], strict=True):
        yield _Piece(key=str(key.value), text="\n".join(lines[start:end]))


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _dump(tree: Mapping[str, PlainValue]) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, default_flow_style=None, width=_WIDTH, allow_unicode=True)


class _Converter:
    """Names the connections that positions imply.

    A step reads the connection with its own name, or with the name of the branch that it begins.
    """

    def __init__(self, tree: Mapping[str, PlainValue], settings: PositionalSettings) -> None:
        self._tree = tree
        self._settings = settings
        self._wiring = wire(settings)
        branches = {branch for gate in settings.gates for branch in gate.fork_to or ()}
        self._taken = {*settings.sinks, *branches, CONTINUE, DISCARD, FORK}
        self._names: dict[Place, str] = {}
        for place, name in settings.node_names.items():
            if place[0] not in _ENDS:
                self._names[place] = _unique(name, set(self._names.values()))
        self._connections: dict[tuple[Place, str | None], str] = {}
        self._writers: dict[str, set[Place]] = {}
        self._connect()

    def sections(self) -> _Tree:
        """Return the sections of the wired form."""
        source = self._raw("datasource")
        queues: _Tree = {name: {} for name, writers in self._writers.items() if len(writers) > 1}
        found: _Tree = {
            "sources": {
                self._settings.datasource.plugin: _ordered(
                    source, plugin=source["plugin"], on_success=self._after(("datasource",))
                )
            },
            "queues": queues,
            "transforms": [self._step(place) for place in self._settings.transform_parts],
            "gates": [self._gate(index) for index in range(len(self._settings.gates))],
            "aggregations": [self._aggregation(index) for index in range(len(self._settings.aggregations))],
            "coalesce": [self._coalesce(index) for index in range(len(self._settings.coalesce))],
        }
        return {key: value for key, value in found.items() if value}

    def _connect(self) -> None:
        """Name the connection of each edge between two steps."""
        for each in self._wiring.wires:
            if each.target[0] == "sinks":
                continue
            key = (each.target, each.connection)
            if key in self._connections:
                name = self._connections[key]
            elif each.mode is RoutingMode.COPY:
                # A branch that has the name of its sink, and steps before the sink, needs another name.
                is_sink = each.label in self._settings.sinks
                name = _unique(f"{each.label}_branch", self._taken) if is_sink else each.label
            else:
                name = self._names[each.target] if each.connection is None else f"{each.connection}_done"
                name = _unique(f"to_{name}" if name in self._taken else name, self._taken)
            self._taken.add(name)
            self._connections[key] = name
            self._writers.setdefault(name, set()).add(each.origin)

    def _name_of(self, each: Wire) -> str:
        """Return the connection or sink to which an edge leads."""
        return str(each.target[1]) if each.target[0] == "sinks" else self._connections[each.target, each.connection]

    def _after(self, place: Place) -> str:
        return next(self._name_of(each) for each in self._wiring.leaving(place) if each.label == CONTINUE)

    def _raw(self, section: str, index: int | None = None) -> _Tree:
        found = self._tree[section]
        return cast("_Tree", found if index is None else cast("list[PlainValue]", found)[index])

    def _step(self, place: Place) -> _Tree:
        return self._between(place, self._raw(str(place[0]), cast("int", place[1])))

    def _aggregation(self, index: int) -> _Tree:
        raw = self._raw("aggregations", index)
        return self._between(("aggregations", index), {**raw, "output_mode": raw.get("output_mode", "single")})

    def _between(self, place: Place, raw: _Tree) -> _Tree:
        names = {"input": self._connections[place, None], "on_success": self._after(place)}
        return _ordered(raw, name=self._names[place], plugin=raw["plugin"], **names)

    def _gate(self, index: int) -> _Tree:
        place, raw = ("gates", index), self._raw("gates", index)
        ways = {each.label: self._name_of(each) for each in self._wiring.leaving(place)}
        routes = cast("dict[str, str]", raw["routes"])
        settings = self._settings.gates[index].routes
        onward: _Tree = {
            label: ways[label] if settings[label] == CONTINUE else destination for label, destination in routes.items()
        }
        branches = self._settings.gates[index].fork_to
        forks: _Tree = {} if branches is None else {"fork_to": [ways[branch] for branch in branches]}
        return {
            **_ordered(raw, name=self._names[place], input=self._connections[place, None]),
            "routes": onward,
            **forks,
        }

    def _coalesce(self, index: int) -> _Tree:
        place, raw = ("coalesce", index), self._raw("coalesce", index)
        arrivals = {name: self._connections[place, name] for name in self._settings.coalesce[index].branches}
        is_identity = all(name == connection for name, connection in arrivals.items())
        branches = cast("PlainValue", list(arrivals) if is_identity else arrivals)
        return {
            **_ordered(raw, name=self._names[place]),
            "branches": branches,
            "on_success": self._after(place),
        }


def _ordered(raw: _Tree, **first: PlainValue) -> _Tree:
    """Return a step's keys without the branch, `first` in front."""
    return {**first, **{key: value for key, value in raw.items() if key not in first and key != "branch"}}


def _unique(name: str, taken: set[str]) -> str:
    """Return the name, with a number if it is taken."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found
