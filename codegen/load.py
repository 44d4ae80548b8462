"""LinkML to model: reads the schema files, resolves what LinkML leaves open, and reports every problem at its place."""

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

from codegen import constraints, validate
from codegen.errors import Problem, SchemaError, Where
from codegen.linkml import annotations_of, files_of_elements, is_set, one_line, open_schema
from codegen.model import (
    Column,
    EnumType,
    EnumValue,
    ExactlyOne,
    ForeignKey,
    Index,
    Lifecycle,
    Model,
    Storage,
    Table,
    Unique,
    Variant,
)
from codegen.vocabulary import Target, check_annotations

__all__ = ["load_model"]

# What a column may say in LinkML. Anything else would be accepted by LinkML and ignored by us, so it is refused.
_COLUMN_KEYS = frozenset(
    {
        "name", "description", "title", "range", "required", "value_presence", "slot_uri", "annotations", "comments",
        "pattern", "minimum_value", "maximum_value", "from_schema", "owner", "domain_of", "alias", "rank", "in_subset",
        "see_also", "notes", "todos", "imported_from", "definition_uri", "equals_string",
    }
)  # fmt: skip


def load_model(path: Path) -> Model:
    """The resolved model of the schema at `path`; SchemaError with every problem found."""
    return _Loader(open_schema(path), path).model()


class _Loader:
    """One pass over one schema; `problems` grows until `model()` decides."""

    def __init__(self, view: SchemaView, path: Path) -> None:
        self._view = view
        self._path = path
        self._problems: list[Problem] = []
        self._files = dict(files_of_elements(view, path))
        self._enums: dict[str, EnumType] = {}

    def model(self) -> Model:
        schema: SchemaDefinition = self._view.schema
        container = self._container()
        epoch = str(schema.version or "")
        if not epoch.isdigit():
            self._report(None, None, f"version: expected the epoch as a whole number, got {schema.version!r}")
        if not one_line(schema.description):
            self._report(None, None, "has no description")
        self._check_annotations()
        self._enums = {str(name): self._enum(enum) for name, enum in self._view.all_enums().items()}
        classes = self._table_classes(container)
        keys = {name: self._unique_keys(cls)[0] for name, (cls, _) in classes.items()}
        tables = tuple(self._table(cls, attribute, classes, keys) for cls, attribute in classes.values())
        if not self._problems:
            model = Model(
                name=str(schema.name),
                epoch=int(epoch),
                description=one_line(schema.description),
                tables=tables,
                enums=tuple(self._enums.values()),
            )
            for fault in validate.faults_of(model):
                self._report(fault.element, fault.member, fault.message)
        if self._problems:
            raise SchemaError(tuple(self._problems))
        return model

    def _report(self, element: str | None, member: str | None, message: str) -> None:
        file = self._files.get(element or "", self._path.name)
        self._problems.append(Problem(where=Where(file=file, element=element, member=member), message=message))

    # -- elements ----------------------------------------------------------------------------------------------------

    def _container(self) -> ClassDefinition:
        roots = [cls for cls in self._view.all_classes().values() if cls.tree_root]
        if len(roots) != 1:
            self._report(None, None, f"expected one class with tree_root: true, got {len(roots)}")
            raise SchemaError(tuple(self._problems))
        return roots[0]

    def _table_classes(self, container: ClassDefinition) -> dict[str, tuple[ClassDefinition, SlotDefinition]]:
        classes = self._view.all_classes()
        found: dict[str, tuple[ClassDefinition, SlotDefinition]] = {}
        for name, attribute in container.attributes.items():
            if attribute.range not in classes:
                self._report(str(container.name), str(name), f"unknown class {attribute.range!r}")
            elif attribute.range in found:
                self._report(str(container.name), str(name), f"class {attribute.range!r} already has a table")
            elif not attribute.singular_name:
                self._report(str(container.name), str(name), "has no singular_name (the record type)")
            else:
                found[str(attribute.range)] = (classes[attribute.range], attribute)
        return found

    def _enum(self, enum: EnumDefinition) -> EnumType:
        name = str(enum.name)
        values = []
        for text, value in enum.permissible_values.items():
            if not one_line(value.description):
                self._report(name, str(text), "has no description")
            final = annotations_of(value).get("final", False) is True
            values.append(EnumValue(text=str(text), description=one_line(value.description), final=final))
        if not one_line(enum.description):
            self._report(name, None, "has no description")
        return EnumType(name=name, description=one_line(enum.description), values=tuple(values))

    def _table(
        self,
        cls: ClassDefinition,
        attribute: SlotDefinition,
        classes: Mapping[str, tuple[ClassDefinition, SlotDefinition]],
        keys: Mapping[str, tuple[str, ...]],
    ) -> Table:
        name, annotations = str(cls.name), annotations_of(cls)
        if not one_line(cls.description):
            self._report(name, None, "has no description")
        columns = tuple(column for slot in cls.slots if (column := self._column(cls, str(slot))) is not None)
        primary_key, uniques = self._unique_keys(cls)
        if not primary_key:
            self._report(name, None, "has no unique key named primary_key")
        table = str(attribute.name)
        variants = tuple(self._variants(cls)) if cls.abstract else ()
        order = annotations.get("export_order")
        exactly_one = tuple(self._exactly_one(cls))
        since = annotations.get("since", 1)
        return Table(
            name=table,
            class_name=name,
            record_type=str(attribute.singular_name),
            title=one_line(attribute.description),
            description=one_line(cls.description),
            columns=columns,
            primary_key=primary_key,
            foreign_keys=tuple(self._foreign_keys(name, table, annotations, classes, keys)),
            uniques=tuple(
                Unique(name=constraints.unique_name(table, key), columns=slots) for key, slots in uniques.items()
            ),
            indexes=tuple(_indexes(table, annotations)),
            checks=constraints.checks(
                table, columns, exactly_one, variants[0][0] if variants else None, tuple(v for _, v in variants)
            ),
            exactly_one=exactly_one,
            discriminator=variants[0][0] if variants else None,
            variants=tuple(variant for _, variant in variants),
            lifecycle=_lifecycle(annotations),
            export_order=_names(order) or primary_key,
            since=since if isinstance(since, int) else 1,
            prov=tuple(str(mapping) for mapping in cls.broad_mappings),
        )

    def _column(self, cls: ClassDefinition, slot_name: str) -> Column | None:
        name = str(cls.name)
        if slot_name not in self._view.all_slots():
            self._report(name, slot_name, "is listed in slots but not defined")
            return None
        slot = self._view.induced_slot(slot_name, cls.name)
        annotations = annotations_of(slot)
        for key, value in vars(slot).items():
            if is_set(value) and not key.startswith("_") and key not in _COLUMN_KEYS:
                self._report(name, slot_name, f"{key!r} has no meaning for a column here; codegen would ignore it")
        if not one_line(slot.description):
            self._report(name, slot_name, "has no description")
        range_name = str(slot.range)
        enum = self._enums.get(range_name)
        kind = self._view.all_types().get(range_name)
        storage = annotations_of(kind).get("storage") if kind is not None else None
        if enum is None and storage not in set(Storage):
            self._report(name, slot_name, f"range: expected an enum or a type with a storage, got {range_name!r}")
            return None
        length = annotations_of(kind).get("max_length") if kind is not None else None
        withheld, since = annotations.get("withheld"), annotations.get("since", 1)
        return Column(
            name=slot_name,
            description=one_line(slot.description),
            storage=Storage.TEXT if enum else Storage(str(storage)),
            nullable=not slot.required,
            enum=enum,
            type_name=range_name,
            max_length=constraints.ENUM_LENGTH if enum else length if isinstance(length, int) else None,
            pattern=_first_text(slot.pattern, getattr(kind, "pattern", None)),
            minimum=_first_int(slot.minimum_value, getattr(kind, "minimum_value", None)),
            maximum=_first_int(slot.maximum_value, getattr(kind, "maximum_value", None)),
            withheld=one_line(withheld) if withheld is not None else None,
            since=since if isinstance(since, int) else 1,
            prov=str(slot.slot_uri) if str(slot.slot_uri or "").startswith("prov:") else None,
        )

    # -- rules of a class --------------------------------------------------------------------------------------------

    def _unique_keys(self, cls: ClassDefinition) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
        uniques: dict[str, tuple[str, ...]] = {}
        for key, unique in cls.unique_keys.items():
            uniques[str(key)] = tuple(str(slot) for slot in unique.unique_key_slots)
        primary_key = uniques.pop("primary_key", ())
        return primary_key, uniques

    def _foreign_keys(
        self,
        cls: str,
        table: str,
        annotations: Mapping[str, object],
        classes: Mapping[str, tuple[ClassDefinition, SlotDefinition]],
        keys: Mapping[str, tuple[str, ...]],
    ) -> Iterator[ForeignKey]:
        for entry in _entries(annotations.get("foreign_keys")):
            target, columns = str(entry.get("references")), _names(entry.get("columns"))
            if target not in classes:
                self._report(cls, ", ".join(columns), f"foreign key references {target!r}, which has no table")
                continue
            attribute = classes[target][1]
            yield ForeignKey(
                name=constraints.foreign_key_name(table, columns),
                columns=columns,
                table=str(attribute.name),
                record_type=str(attribute.singular_name),
                target_columns=keys[target],
            )

    def _exactly_one(self, cls: ClassDefinition) -> Iterator[ExactlyOne]:
        for expression in cls.all_of:
            if not expression.exactly_one_of:
                continue
            if not expression.title:
                self._report(str(cls.name), None, "exactly_one_of needs a title: it names the constraint")
                continue
            columns = tuple(
                str(slot)
                for alternative in expression.exactly_one_of
                for slot, condition in alternative.slot_conditions.items()
                if str(condition.value_presence) == "PRESENT"
            )
            yield ExactlyOne(title=str(expression.title), columns=columns)

    def _variants(self, cls: ClassDefinition) -> Iterator[tuple[str, Variant]]:
        children = [child for child in self._view.all_classes().values() if child.is_a == cls.name]
        for child in children:
            name = str(child.name)
            conditions = [
                (str(slot), str(condition.equals_string))
                for expression in child.all_of
                for slot, condition in expression.slot_conditions.items()
                if condition.equals_string is not None
            ]
            if len(conditions) != 1:
                self._report(name, None, f"expected one equals_string condition, got {len(conditions)}")
                continue
            ((discriminator, text),) = conditions
            enum = self._enums.get(str(self._view.induced_slot(discriminator, cls.name).range))
            value = next((item for item in enum.values if item.text == text), None) if enum else None
            if value is None:
                self._report(name, discriminator, f"{text!r} is not a value of the enum that {discriminator} holds")
                continue
            if not one_line(child.description):
                self._report(name, None, "has no description")
            usage = child.slot_usage
            yield (
                discriminator,
                Variant(
                    class_name=name,
                    description=one_line(child.description),
                    value=value,
                    required=tuple(str(slot) for slot, use in usage.items() if use.required),
                    absent=tuple(str(slot) for slot, use in usage.items() if str(use.value_presence) == "ABSENT"),
                ),
            )

    def _check_annotations(self) -> None:
        view = self._view
        for cls in view.all_classes().values():
            self._complain(str(cls.name), None, cls, Target.CLASS)
            for slot, usage in cls.slot_usage.items():
                self._complain(str(cls.name), str(slot), usage, Target.SLOT)
            for slot, attribute in cls.attributes.items():
                self._complain(str(cls.name), str(slot), attribute, Target.SLOT)
        for slot in view.schema_map.values():
            for name, definition in slot.slots.items():
                self._complain(None, str(name), definition, Target.SLOT)
        types: Mapping[str, TypeDefinition] = view.all_types()
        for name, definition in types.items():
            self._complain(str(name), None, definition, Target.TYPE)
        for enum in view.all_enums().values():
            for text, value in enum.permissible_values.items():
                self._complain(str(enum.name), str(text), value, Target.ENUM_VALUE)

    def _complain(self, element: str | None, member: str | None, definition: object, target: Target) -> None:
        for message in check_annotations(annotations_of(definition), target):
            self._report(element or member, member if element else None, message)


def _entries(value: object) -> list[Mapping[str, object]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _indexes(table: str, annotations: Mapping[str, object]) -> Iterator[Index]:
    for entry in _entries(annotations.get("indexes")):
        where = entry.get("where")
        yield Index(
            name=constraints.index_name(table, str(entry.get("name"))),
            columns=_names(entry.get("columns")),
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
    )


def _first_text(*candidates: object) -> str | None:
    return next((str(candidate) for candidate in candidates if candidate), None)


def _first_int(*candidates: object) -> int | None:
    for candidate in candidates:
        if isinstance(candidate, int):
            return int(candidate)
    return None
