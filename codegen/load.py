"""Load a LinkML schema as a resolved, checked model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from linkml_runtime.linkml_model.meta import (
    ClassDefinition,
    EnumDefinition,
    SchemaDefinition,
    SlotDefinition,
    TypeDefinition,
)
from linkml_runtime.utils.schemaview import SchemaView

from codegen import constraints, vocabulary
from codegen.errors import Problem, SchemaError, Where
from codegen.files import read_files
from codegen.idioms import faults_of_file
from codegen.linkml import annotations_of, one_line, open_schema
from codegen.model import (
    Column,
    EnumType,
    EnumValue,
    ExactlyOne,
    ForeignKey,
    Index,
    Kind,
    Lifecycle,
    Model,
    Table,
    Unique,
    Variant,
)
from codegen.references import faults_of_references
from codegen.validate import faults_of

__all__ = ["load_model"]


def load_model(path: Path) -> Model:
    """Return the resolved model of the schema at `path`.

    Raises SchemaError with every problem that one stage finds. The stages are: the files, each element, the references
    between elements, the resulting tables.
    """
    files = read_files(path)
    _raise_if_any(tuple(problem for file in files for problem in faults_of_file(file)))
    _raise_if_any(faults_of_references(files))
    model = _Loader(open_schema(path)).model()
    places = {name: file.name for file in files for name in (*file.section("enums"), *file.section("classes"))}
    _raise_if_any(
        tuple(
            Problem(
                where=Where(file=places[fault.element], element=fault.element, member=fault.member),
                message=fault.message,
            )
            for fault in faults_of(model)
        )
    )
    return model


def _raise_if_any(problems: tuple[Problem, ...]) -> None:
    if problems:
        raise SchemaError(problems)


class _Loader:
    """One pass over one schema."""

    def __init__(self, view: SchemaView) -> None:
        self._view = view
        self._enums: dict[str, EnumType] = {}

    def model(self) -> Model:
        schema: SchemaDefinition = self._view.schema
        self._enums = {str(name): _enum(enum) for name, enum in self._view.all_enums().items()}
        classes = self._table_classes()
        keys = {name: _unique_keys(cls)[0] for name, (cls, _) in classes.items()}
        return Model(
            name=str(schema.name),
            epoch=int(schema.version),
            description=one_line(schema.description),
            prefix=str(schema.default_prefix),
            prefixes=tuple(sorted(self._prefixes().items())),
            tables=tuple(self._table(cls, attribute, classes, keys) for cls, attribute in classes.values()),
            enums=tuple(self._enums.values()),
        )

    def _prefixes(self) -> dict[str, str]:
        """Return the prefixes of all files, by name."""
        files = [self._view.schema_map[name] for name in self._view.imports_closure()]
        return {str(name): str(each.prefix_reference) for file in files for name, each in file.prefixes.items()}

    def _table_classes(self) -> Mapping[str, tuple[ClassDefinition, SlotDefinition]]:
        """Return each table's class and container attribute, in table order."""
        classes = self._view.all_classes()
        container = next(cls for cls in classes.values() if cls.tree_root)
        return {str(table.range): (classes[table.range], table) for table in container.attributes.values()}

    def _table(
        self,
        cls: ClassDefinition,
        attribute: SlotDefinition,
        classes: Mapping[str, tuple[ClassDefinition, SlotDefinition]],
        keys: Mapping[str, tuple[str, ...]],
    ) -> Table:
        table, annotations = str(attribute.name), annotations_of(cls)
        columns = tuple(self._column(cls, str(slot)) for slot in cls.slots)
        primary_key, uniques = _unique_keys(cls)
        discriminator, variants = self._variants(cls)
        exactly_one = tuple(_exactly_one(cls))
        return Table(
            name=table,
            class_name=str(cls.name),
            record_type=str(attribute.singular_name),
            is_bookkeeping=annotations.get("bookkeeping") is True,
            title=one_line(attribute.description),
            description=one_line(cls.description),
            columns=columns,
            primary_key=primary_key,
            foreign_keys=tuple(_foreign_keys(table, annotations, classes, keys)),
            uniques=tuple(
                Unique(name=constraints.unique_name(table, key), columns=slots) for key, slots in uniques.items()
            ),
            indexes=tuple(_indexes(table, annotations)),
            checks=constraints.checks(table, columns, exactly_one, discriminator, variants),
            exactly_one=exactly_one,
            discriminator=discriminator,
            variants=variants,
            lifecycle=_lifecycle(annotations),
            export_order=_names(annotations.get("export_order")) or primary_key,
            renamed_from=_first_text(annotations.get("renamed_from")),
            since=_int(annotations.get("since")) or 1,
            releases=tuple(str(classes[name][1].name) for name in _names(annotations.get("releases"))),
            prov=tuple(str(mapping) for mapping in cls.broad_mappings),
        )

    def _column(self, cls: ClassDefinition, slot_name: str) -> Column:
        slot = self._view.induced_slot(slot_name, cls.name)
        annotations = annotations_of(slot)
        enum = self._enums.get(str(slot.range))
        kind: TypeDefinition | None = self._view.all_types().get(slot.range)
        type_annotations = annotations_of(kind)
        withheld = annotations.get("withheld")
        return Column(
            name=slot_name,
            description=one_line(slot.description),
            kind=Kind(str(type_annotations.get("storage", Kind.TEXT))),
            nullable=not slot.required,
            enum=enum,
            type_name=str(slot.range),
            max_length=constraints.ENUM_LENGTH if enum else _int(type_annotations.get("max_length")),
            pattern=_first_text(slot.pattern, getattr(kind, "pattern", None)),
            minimum=_first_int(slot.minimum_value, getattr(kind, "minimum_value", None)),
            maximum=_first_int(slot.maximum_value, getattr(kind, "maximum_value", None)),
            withheld=one_line(withheld) if withheld is not None else None,
            hash_column=_first_text(annotations.get("hash_column")),
            since=_int(annotations.get("since")) or 1,
            until=_int(annotations.get("until")),
            backfill=tuple(
                (int(str(entry["epoch"])), str(entry["expression"])) for entry in _entries(annotations.get("backfill"))
            ),
            renamed_from=_first_text(annotations.get("renamed_from")),
            predecessor=_names(annotations.get("predecessor")),
            uri=str(kind.uri) if kind is not None else "xsd:string",
            iri=_first_text(slot.slot_uri),
            inverse=_first_text(annotations.get("inverse_uri")),
        )

    def _variants(self, cls: ClassDefinition) -> tuple[str | None, tuple[Variant, ...]]:
        """Return the discriminator and the variants, in its values' order."""
        children = [child for child in self._view.all_classes().values() if child.is_a == cls.name]
        if not children:
            return None, ()
        (discriminator,) = children[0].all_of[0].slot_conditions
        enum = self._enums[str(self._view.induced_slot(discriminator, cls.name).range)]
        variants = {str(child.all_of[0].slot_conditions[discriminator].equals_string): child for child in children}
        return str(discriminator), tuple(
            _variant(cls, variants[value.text], value) for value in enum.values if value.text in variants
        )


def _variant(cls: ClassDefinition, child: ClassDefinition, value: EnumValue) -> Variant:
    usage = {str(slot): use for slot, use in child.slot_usage.items()}
    slots = [str(slot) for slot in cls.slots if slot in usage]
    return Variant(
        class_name=str(child.name),
        description=one_line(child.description),
        value=value,
        required=tuple(slot for slot in slots if usage[slot].required),
        absent=tuple(slot for slot in slots if usage[slot].value_presence is not None),
    )


def _enum(enum: EnumDefinition) -> EnumType:
    values = (
        EnumValue(
            text=str(text),
            description=one_line(value.description),
            final=annotations_of(value).get("final") is True,
            predecessor=_names(annotations_of(value).get("predecessor")),
        )
        for text, value in enum.permissible_values.items()
    )
    return EnumType(name=str(enum.name), description=one_line(enum.description), values=tuple(values))


def _unique_keys(cls: ClassDefinition) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return the primary key, and other unique keys by name."""
    uniques = {
        str(key): tuple(str(slot) for slot in unique.unique_key_slots) for key, unique in cls.unique_keys.items()
    }
    return uniques.pop("primary_key", ()), uniques


def _foreign_keys(
    table: str,
    annotations: Mapping[str, object],
    classes: Mapping[str, tuple[ClassDefinition, SlotDefinition]],
    keys: Mapping[str, tuple[str, ...]],
) -> Iterator[ForeignKey]:
    for entry in _entries(annotations.get("foreign_keys")):
        target, columns = str(entry["references"]), _names(entry["columns"])
        _, attribute = classes[target]
        yield ForeignKey(
            name=constraints.foreign_key_name(table, columns),
            columns=columns,
            table=str(attribute.name),
            record_type=str(attribute.singular_name),
            target_columns=keys[target],
        )


def _exactly_one(cls: ClassDefinition) -> Iterator[ExactlyOne]:
    for expression in cls.all_of:
        columns = tuple(str(slot) for each in expression.exactly_one_of for slot in each.slot_conditions)
        yield ExactlyOne(title=str(expression.title), columns=columns)


def _entries(value: object) -> list[Mapping[str, object]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _indexes(table: str, annotations: Mapping[str, object]) -> Iterator[Index]:
    for entry in _entries(annotations.get("indexes")):
        where = entry.get("where")
        yield Index(
            name=constraints.index_name(table, str(entry["name"])),
            columns=_names(entry["columns"]),
            unique=entry.get("unique") is True,
            where=str(where) if where is not None else None,
        )


def _lifecycle(annotations: Mapping[str, object]) -> Lifecycle:
    value = annotations.get("lifecycle")
    stages = value if isinstance(value, Mapping) else {}
    status = stages.get("status")
    return Lifecycle(
        status=str(status) if status is not None else None,
        while_open=_names(stages.get("while_open")),
        afterwards=_names(stages.get("afterwards")),
        is_transient=value == vocabulary.TRANSIENT,
    )


def _first_text(*candidates: object) -> str | None:
    return next((str(candidate) for candidate in candidates if candidate), None)


def _first_int(*candidates: object) -> int | None:
    return next((int(candidate) for candidate in candidates if isinstance(candidate, int)), None)


def _int(value: object) -> int | None:
    return value if isinstance(value, int) else None
