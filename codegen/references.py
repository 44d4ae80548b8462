"""References between elements: each is defined once and used.

LinkML silently merges duplicate definitions and drops unused ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.errors import Problem, Where, suggestion
from codegen.files import SchemaFile

__all__ = ["faults_of_references"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Element:
    """A definition of a type, slot, enum or class."""

    file: str
    name: str
    body: Mapping[str, object]

    def mapping(self, key: str) -> Mapping[str, object]:
        """Return the mapping below the key, empty by default."""
        return _mapping(self.body, key)

    def names(self, key: str) -> list[str]:
        """Return the names listed below the key."""
        value = self.body.get(key)
        return [str(item) for item in value] if isinstance(value, list) else []

    def mappings(self, key: str) -> list[Mapping[str, object]]:
        """Return the mappings listed below the key."""
        value = self.body.get(key)
        return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []

    def annotation(self, name: str) -> object:
        """Return the value of an annotation, or None."""
        value = self.mapping("annotations").get(name)
        return value.get("value") if isinstance(value, Mapping) else value

    def problem(self, member: str | None, message: str) -> Problem:
        """Return a problem of the element, or of one member."""
        return Problem(where=Where(file=self.file, element=self.name, member=member), message=message)


def faults_of_references(files: Sequence[SchemaFile]) -> tuple[Problem, ...]:
    """Return undefined and duplicate names, or else unused definitions.

    Expects files in which each element is valid.
    """
    types, slots, enums, classes = (list(_elements(files, each)) for each in ("types", "slots", "enums", "classes"))
    containers = [cls for cls in classes if "tree_root" in cls.body]
    tables = {cls.name: cls for cls in classes if "tree_root" not in cls.body and "is_a" not in cls.body}
    variants = [cls for cls in classes if "is_a" in cls.body]
    if problems := tuple(_root_faults(files[0], containers)):
        return problems
    return (
        *(problem for section in (types, slots, enums, classes) for problem in _defined_twice(section)),
        *(each.problem(None, "has no annotation 'storage'") for each in types if not each.annotation("storage")),
        *(
            each.problem(None, "has no annotation 'lifecycle'")
            for each in tables.values()
            if not each.annotation("lifecycle")
        ),
        *_range_faults(slots, list(tables.values()), {each.name for each in (*types, *enums)}),
        *(problem for cls in tables.values() for problem in _slot_faults(cls, {slot.name for slot in slots})),
        *_table_faults(containers[0], tables),
        *(problem for cls in tables.values() for problem in _named_class_faults(cls, tables)),
        *_variant_faults(variants, tables, slots, enums),
    ) or tuple(_unused(containers[0], slots, list(tables.values()), variants))


def _elements(files: Sequence[SchemaFile], section: str) -> Iterator[_Element]:
    for file in files:
        for name, body in file.section(section).items():
            yield _Element(file=file.name, name=str(name), body=body if isinstance(body, Mapping) else {})


def _defined_twice(elements: Sequence[_Element]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for element in elements:
        if element.name in first:
            yield element.problem(None, f"is already defined in {first[element.name]}")
        first.setdefault(element.name, element.file)


def _root_faults(root: SchemaFile, containers: Sequence[_Element]) -> Iterator[Problem]:
    if "version" not in root.content:
        yield Problem(where=Where(file=root.name), message="has no version (the epoch)")
    if len(containers) != 1:
        got = ", ".join(each.name for each in containers) or "none"
        yield Problem(where=Where(file=root.name), message=f"expected one class with tree_root: true, got {got}")


def _range_faults(slots: Sequence[_Element], tables: Sequence[_Element], ranges: Collection[str]) -> Iterator[Problem]:
    uses: list[tuple[_Element, str | None, object]] = [(slot, None, slot.body.get("range")) for slot in slots]
    uses += [
        (cls, name, _mapping(cls.mapping("slot_usage"), name).get("range"))
        for cls in tables
        for name in cls.mapping("slot_usage")
    ]
    for element, member, name in uses:
        if name is not None and name not in ranges:
            yield element.problem(member, f"range: no type or enum is called {name!r}{suggestion(str(name), ranges)}")


def _slot_faults(cls: _Element, slots: Collection[str]) -> Iterator[Problem]:
    for name in cls.names("slots"):
        if name not in slots:
            yield cls.problem(name, f"is listed in slots but defined nowhere{suggestion(name, slots)}")


def _table_faults(container: _Element, tables: Collection[str]) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for table in container.mapping("attributes"):
        cls = str(_mapping(container.mapping("attributes"), table)["range"])
        if cls not in tables:
            yield container.problem(table, f"range: no class is called {cls!r}{suggestion(cls, tables)}")
        elif cls in taken:
            yield container.problem(table, f"class {cls!r} already has the table {taken[cls]!r}")
        taken.setdefault(cls, table)


def _named_class_faults(cls: _Element, tables: Collection[str]) -> Iterator[Problem]:
    foreign_keys = cls.annotation("foreign_keys")
    for entry in foreign_keys if isinstance(foreign_keys, list) else ():
        if (target := entry["references"]) not in tables:
            message = f"foreign key: no class is called {target!r}{suggestion(target, tables)}"
            yield cls.problem(", ".join(entry["columns"]), message)
    releases = cls.annotation("releases")
    for name in releases if isinstance(releases, list) else ():
        if name not in tables:
            yield cls.problem(None, f"releases: no class is called {name!r}{suggestion(name, tables)}")


def _variant_faults(
    variants: Sequence[_Element], tables: Mapping[str, _Element], slots: Sequence[_Element], enums: Sequence[_Element]
) -> Iterator[Problem]:
    ranges = {slot.name: slot.body.get("range") for slot in slots}
    values = {enum.name: list(enum.mapping("permissible_values")) for enum in enums}
    discriminators: dict[str, str] = {}
    values_taken: dict[tuple[str, str], str] = {}
    for variant in variants:
        parent = tables.get(str(variant.body["is_a"]))
        if parent is None:
            name = str(variant.body["is_a"])
            yield variant.problem(None, f"is_a: no class is called {name!r}{suggestion(name, tables)}")
            continue
        conditions = [
            (name, _mapping(_mapping(expression, "slot_conditions"), name)["equals_string"])
            for expression in variant.mappings("all_of")
            for name in _mapping(expression, "slot_conditions")
        ]
        if len(conditions) != 1:
            yield variant.problem(None, f"all_of: expected one equals_string, got {len(conditions)}")
            continue
        ((slot, value),) = conditions
        expected = discriminators.setdefault(parent.name, slot)
        allowed = values.get(str(_mapping(parent.mapping("slot_usage"), slot).get("range", ranges.get(slot))), [])
        if slot not in parent.names("slots") or slot != expected:
            yield variant.problem(slot, f"all_of: expected a condition on {expected!r}, a slot of {parent.name}")
        elif value not in allowed:
            yield variant.problem(slot, f"all_of: expected {' or '.join(allowed) or 'an enum'}, got {value!r}")
        elif (taken := values_taken.setdefault((parent.name, str(value)), variant.name)) != variant.name:
            yield variant.problem(slot, f"all_of: {value!r} already identifies {taken}")


def _unused(
    container: _Element, slots: Sequence[_Element], tables: Sequence[_Element], variants: Sequence[_Element]
) -> Iterator[Problem]:
    listed = {name for cls in tables for name in cls.names("slots")}
    yield from (slot.problem(None, "is a slot of no class") for slot in slots if slot.name not in listed)
    attributes = container.mapping("attributes")
    with_table = {_mapping(attributes, table)["range"] for table in attributes}
    parents = {variant.body["is_a"] for variant in variants}
    for cls in tables:
        if cls.name not in with_table:
            yield cls.problem(None, f"has no table: {container.name} does not list it")
        if ("abstract" in cls.body) != (cls.name in parents):
            has = (
                "is abstract, but has no variants" if "abstract" in cls.body else "has variants, so it must be abstract"
            )
            yield cls.problem(None, has)
    slots_of = {cls.name: cls.names("slots") for cls in tables}
    for cls in (*tables, *variants):
        known = slots_of[str(cls.body.get("is_a", cls.name))]
        for name in cls.mapping("slot_usage"):
            if name not in known:
                yield cls.problem(name, f"slot_usage: the class has no such slot{suggestion(name, known)}")


def _mapping(body: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = body.get(key)
    return value if isinstance(value, Mapping) else {}
