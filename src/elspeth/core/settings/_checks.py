"""Checks across sections, except of graph and paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from elspeth.contracts.database_urls import without_credentials
from elspeth.contracts.environment import missing_package
from elspeth.contracts.expressions import ExpressionError, compile_expression
from elspeth.contracts.plugins import PluginCatalogue, PluginKind
from elspeth.contracts.python_functions import FunctionError, row_function
from elspeth.contracts.routing import CONTINUE, DISCARD, FORK
from elspeth.core.settings._branch_checks import branch_problems, coalesce_problems
from elspeth.core.settings._connection_checks import connection_problems
from elspeth.core.settings._yaml_file import PlainValue
from elspeth.core.settings.parts import Parts
from elspeth.core.settings.problems import Location, Problem, structural_problems
from elspeth.core.settings.steps import (
    AggregationSettings,
    CoalesceSettings,
    GateSettings,
    PluginSettings,
    TransformSettings,
    WiredAggregationSettings,
    WiredTransformSettings,
)
from elspeth.core.suggestions import did_you_mean

__all__ = ["cross_section_problems", "mode_problems"]

_RESERVED_SINK_NAMES = (CONTINUE, DISCARD, FORK)
_BOOLEAN_LABELS = {"true", "false"}


def cross_section_problems(tree: Mapping[str, PlainValue], parts: Parts, plugins: PluginCatalogue) -> Iterator[Problem]:
    """Yield the problems between sections that are valid by themselves."""
    yield from _plugin_problems(parts, plugins)
    for name in parts.sinks:
        if name in _RESERVED_SINK_NAMES:
            yield Problem(location=("sinks", name), message=f"the name {name!r} is reserved: give the sink another one")
    for location, destination, keywords in _destinations(parts):
        yield from _destination_problems(parts, location, destination, keywords)
    if not parts.is_wired:
        yield from _name_problems("gates", parts.gates)
        yield from _name_problems("aggregations", parts.aggregations)
        yield from _name_problems("coalesce", parts.coalesce)
    yield from _condition_problems(parts)
    yield from branch_problems(parts)
    yield from coalesce_problems(parts)
    if parts.is_wired:
        yield from connection_problems(tree, parts)
    yield from _table_problems(parts)
    yield from _landscape_problems(parts)
    yield from _log_problems(parts)


def _plugin_problems(parts: Parts, plugins: PluginCatalogue) -> Iterator[Problem]:
    for place, source in parts.sources.items():
        yield from _options_problems(place, PluginKind.SOURCE, source, plugins)
    for place, transform in parts.transforms.items():
        yield from _options_problems(place, PluginKind.TRANSFORM, transform, plugins)
    for index, aggregation in parts.aggregations.items():
        yield from _options_problems(("aggregations", index), PluginKind.AGGREGATION, aggregation, plugins)
    for name, sink in parts.sinks.items():
        if sink is not None:
            yield from _options_problems(("sinks", name), PluginKind.SINK, sink, plugins)


def _options_problems(
    location: Location, kind: PluginKind, settings: PluginSettings | AggregationSettings, plugins: PluginCatalogue
) -> Iterator[Problem]:
    known = plugins.names(kind)
    if settings.plugin not in known:
        message = f"unknown {kind} plugin {settings.plugin!r}: expected one of {', '.join(known)}"
        yield Problem(location=(*location, "plugin"), message=message + did_you_mean(settings.plugin, known))
        return
    model = plugins.options_model(kind, settings.plugin)
    try:
        model.model_validate(settings.options)
    except ValidationError as error:
        yield from structural_problems(error, model, prefix=(*location, "options"))


def _destinations(parts: Parts) -> Iterator[tuple[Location, str, tuple[str, ...]]]:
    """Yield each place that names a sink.

    Each comes with the name, and with the keywords that are allowed there instead.
    """
    if parts.output_sink is not None:
        yield ("output_sink",), parts.output_sink, ()
    yield from _failure_destinations(parts)
    if parts.is_wired:
        return  # routes lead to connections there
    for index, gate in parts.gates.items():
        for label, destination in gate.routes.items():
            yield ("gates", index, "routes", label), destination, (CONTINUE, FORK)


def _failure_destinations(parts: Parts) -> Iterator[tuple[Location, str, tuple[str, ...]]]:
    """Yield each place that names a sink of failed rows."""
    for place, source in parts.sources.items():
        destination = source.options.get("on_validation_failure")
        if isinstance(destination, str):
            yield (*place, "options", "on_validation_failure"), destination, (DISCARD,)
    failing: dict[Location, TransformSettings | AggregationSettings] = {**parts.transforms}
    failing |= {("aggregations", index): each for index, each in parts.aggregations.items()}
    for place, step in failing.items():
        destination = step.options.get("on_error")
        if isinstance(destination, str):
            yield (*place, "options", "on_error"), destination, (DISCARD,)
        if isinstance(step, WiredTransformSettings | WiredAggregationSettings) and step.on_error is not None:
            yield (*place, "on_error"), step.on_error, (DISCARD,)
    for name, sink in parts.sinks.items():
        if sink is not None and sink.on_write_failure is not None:
            yield ("sinks", name, "on_write_failure"), sink.on_write_failure, (DISCARD,)


def _destination_problems(
    parts: Parts, location: Location, destination: str, keywords: tuple[str, ...]
) -> Iterator[Problem]:
    if destination in keywords:
        return
    if destination not in parts.sinks:
        known = list(dict.fromkeys([*keywords, *parts.sinks]))
        message = f"unknown sink {destination!r}: expected one of {', '.join(known)}{did_you_mean(destination, known)}"
        yield Problem(location=location, message=message)
    elif destination == parts.export_sink:
        message = f"sink {destination!r} takes the export of the audit trail: rows need another sink"
        yield Problem(location=location, message=message)


def _name_problems(
    section: str, parts: Mapping[int, GateSettings] | Mapping[int, AggregationSettings] | Mapping[int, CoalesceSettings]
) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, part in parts.items():
        if part.name in seen:
            message = f"the name {part.name!r} is taken by {section}[{seen[part.name]}]: give each its own"
            yield Problem(location=(section, index, "name"), message=message)
        seen.setdefault(part.name, index)


def _condition_problems(parts: Parts) -> Iterator[Problem]:
    for index, gate in parts.gates.items():
        if gate.condition is None or gate.function is not None:
            yield from _function_problems(index, gate)
            continue
        try:
            condition = compile_expression(gate.condition)
        except ExpressionError as error:
            yield Problem(location=("gates", index, "condition"), message=f"the condition {error}")
            continue
        if condition.is_boolean and set(gate.routes) != _BOOLEAN_LABELS:
            got = ", ".join(repr(label) for label in gate.routes)
            message = f"the condition is true or false: expected the labels 'true' and 'false', got {got}"
            yield Problem(location=("gates", index, "routes"), message=message)
    for index, aggregation in parts.aggregations.items():
        if aggregation.trigger.condition is not None:
            try:
                compile_expression(aggregation.trigger.condition)
            except ExpressionError as error:
                location: Location = ("aggregations", index, "trigger", "condition")
                yield Problem(location=location, message=f"the condition {error}")


def _function_problems(index: int, gate: GateSettings) -> Iterator[Problem]:
    """Yield problems of a gate's function and condition."""
    place: Location = ("gates", index)
    if gate.function is None:
        yield Problem(location=(*place, "condition"), message="is required but missing: an expression, or a `function`")
        return
    if gate.condition is not None:
        yield Problem(location=(*place, "function"), message="is given, and so is a condition: give one of them")
        return
    try:
        function = row_function(gate.function, gate.directory)
    except FunctionError as error:
        yield Problem(location=(*place, "function"), message=str(error))
        return
    if problem := function.label_problem(gate.routes):
        yield Problem(location=(*place, "routes"), message=f"function {gate.function!r}: {problem}")


def _table_problems(parts: Parts) -> Iterator[Problem]:
    """Yield problems for pairs of sinks with the same table."""
    owners: dict[tuple[str, str], str] = {}
    for name, sink in parts.sinks.items():
        if sink is None or not {"url", "table"} <= sink.options.keys():
            continue
        table = sink.options["table"]
        first = owners.setdefault((without_credentials(str(sink.options["url"])), str(table)), name)
        if first != name:
            message = f"the table {table!r} is also that of sinks.{first}: give each its own"
            yield Problem(location=("sinks", name, "options", "table"), message=message)


def _landscape_problems(parts: Parts) -> Iterator[Problem]:
    if parts.landscape is None:
        return
    landscape, export = parts.landscape, parts.landscape.export
    scheme = landscape.url.partition(":")[0].partition("+")[0]
    backends = (landscape.backend,) if "backend" in landscape.model_fields_set else ("sqlite", "postgresql")
    if scheme not in backends:
        message = f"expected a URL that begins with {' or '.join(map(repr, backends))}, got {scheme!r}"
        yield Problem(location=("landscape", "url"), message=message)
    elif landscape.enabled and scheme == "postgresql" and (missing := missing_package("psycopg", "postgres")):
        yield Problem(location=("landscape", "url"), message=missing)
    if not export.enabled:
        return
    if export.path is not None and export.sink is not None:
        message = f"is given, and so is the sink {export.sink!r}: give one of them"
        yield Problem(location=("landscape", "export", "path"), message=message)
        return
    if export.sink is None:
        if export.path is None:
            message = "is required when the export is enabled: where it is written to"
            yield Problem(location=("landscape", "export", "path"), message=message)
        return
    location: Location = ("landscape", "export", "sink")
    if export.sink not in parts.sinks:
        known = list(parts.sinks)
        message = f"unknown sink {export.sink!r}: expected one of {', '.join(known)}{did_you_mean(export.sink, known)}"
        yield Problem(location=location, message=message)
        return
    sink = parts.sinks[export.sink]
    if sink is not None and not isinstance(sink.options.get("path"), str):
        yield Problem(location=location, message=f"sink {export.sink!r} has no path to write the export to")


def _log_problems(parts: Parts) -> Iterator[Problem]:
    """Yield problems of the places for checkpoints."""
    if parts.landscape is None:
        return
    log, location = parts.landscape.log, ("landscape", "log")
    if log.after_run and log.key is None:
        message = "is required where checkpoints are left: the Ed25519 key that signs them"
        yield Problem(location=(*location, "key"), message=message)
    if log.timestamp is not None and all(place.file is None for place in log.after_run):
        message = "is for the files of after_run, and there is none: name a file, or leave this out"
        yield Problem(location=(*location, "timestamp"), message=message)
    elif log.timestamp is not None and (missing := missing_package("rfc3161_client", "timestamp")):
        yield Problem(location=(*location, "timestamp"), message=missing)
    for index, place in enumerate(log.after_run):
        where: Location = (*location, "after_run", index)
        if (place.file is None) == (place.witness is None):
            yield Problem(location=where, message="expected either a file or a witness")
        elif place.witness is not None and place.key is None:
            message = "is required: the key of the witness, which it prints when it starts"
            yield Problem(location=(*where, "key"), message=message)
        elif place.file is not None and place.key is not None:
            yield Problem(location=(*where, "key"), message="is for a witness: leave it out for a file")


_SOURCE = "replay_source_run_id"


def mode_problems(tree: Mapping[str, PlainValue], parts: Parts) -> Iterator[Problem]:
    """Yield problems of the run mode and its keys."""
    mode, source = tree.get("run_mode") or "live", tree.get(_SOURCE)
    if mode not in ("replay", "verify"):
        if source is not None:
            message = "only the run modes replay and verify have a recorded run: set run_mode, or leave this out"
            yield Problem(location=(_SOURCE,), message=message)
        return
    if not source:
        yield Problem(location=(_SOURCE,), message=f"run mode {mode!r} needs the id of a recorded run")
    if parts.landscape is not None and not parts.landscape.enabled:
        message = f"run mode {mode!r} needs the audit database that holds the recorded run"
        yield Problem(location=("landscape", "enabled"), message=message)
