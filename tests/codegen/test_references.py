"""What the elements of a schema say of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codegen.files import SchemaFile
from codegen.references import faults_of_references

Json = dict[str, Any]


def variant(parent: str, slot: str, value: str) -> Json:
    return {"is_a": parent, "all_of": [{"slot_conditions": {slot: {"equals_string": value}}}]}


def schema() -> Json:
    """Return a schema with two tables that have variants."""
    return {
        "version": "1",
        "types": {"name": {"annotations": {"storage": "text"}}},
        "enums": {
            "Status": {"permissible_values": {"open": {}, "done": {}}},
            "Phase": {"permissible_values": {"open": {}, "shut": {}}},
        },
        "slots": {"key": {"range": "name"}, "status": {"range": "Status"}},
        "classes": {
            "Root": {
                "tree_root": True,
                "attributes": {"steps": {"range": "Step"}, "doors": {"range": "Door"}},
            },
            "Step": {"abstract": True, "slots": ["key", "status"], "annotations": {"lifecycle": "immutable"}},
            "StepOpen": variant("Step", "status", "open"),
            "StepDone": variant("Step", "status", "done"),
            "Door": {
                "abstract": True,
                "slots": ["key", "status"],
                "slot_usage": {"status": {"range": "Phase"}},
                "annotations": {"lifecycle": {"value": "immutable"}},
            },
            "DoorOpen": variant("Door", "status", "open"),
            "DoorShut": variant("Door", "status", "shut"),
        },
    }


def faults(content: Json, **more: Mapping[str, object]) -> list[str]:
    """Return what is wrong with a schema in several files."""
    files = [SchemaFile(name="a.yaml", content=content)]
    files += [SchemaFile(name=f"{name}.yaml", content=each) for name, each in more.items()]
    return list(map(str, faults_of_references(files)))


def test_variants_of_two_tables_may_be_distinguished_by_the_same_value() -> None:
    assert faults(schema()) == []


def test_a_value_identifies_one_variant_of_a_table() -> None:
    content = schema()
    content["classes"]["DoorShut"] = variant("Door", "status", "open")
    assert faults(content) == ["a.yaml: DoorShut: status: all_of: 'open' already identifies DoorOpen"]
    content["classes"]["DoorShut"] = variant("Door", "status", "done")
    assert faults(content) == ["a.yaml: DoorShut: status: all_of: expected open or shut, got 'done'"]


def test_variants_are_distinguished_by_a_slot_of_their_table() -> None:
    content = schema()
    content["slots"]["other"] = {"range": "Status"}
    for name, value in (("StepOpen", "open"), ("StepDone", "done")):
        content["classes"][name] = variant("Step", "other", value)
    assert faults(content) == [
        f"a.yaml: {name}: other: all_of: expected a condition on 'other', a slot of Step"
        for name in ("StepOpen", "StepDone")
    ]


def test_a_name_is_defined_once_in_all_files_and_sections() -> None:
    for section, name in (("types", "name"), ("slots", "key"), ("enums", "Phase"), ("classes", "Door")):
        body = schema()[section][name]
        said = faults(schema(), b={section: {name: body}})
        assert f"b.yaml: {name}: is already defined in a.yaml" in said


def test_every_fault_of_names_is_told_with_its_place() -> None:
    content = schema()
    content["types"]["size"] = {}
    content["slots"]["key"]["range"] = "nmae"
    content["classes"]["Door"]["slot_usage"]["key"] = {"range": "Phases"}
    content["classes"]["Door"]["slots"].append("gone")
    content["classes"]["Step"]["annotations"] = {"releases": {"value": ["Doors", "Door"]}}
    content["classes"]["Root"]["attributes"]["gates"] = {"range": "Door"}
    content["classes"]["Root"]["attributes"]["portals"] = {"range": "Door"}
    content["classes"]["Root"]["attributes"]["windows"] = {"range": "Window"}
    content["classes"]["Door"]["annotations"]["foreign_keys"] = {
        "value": [{"columns": ["key", "status"], "references": "Stpe"}, {"columns": ["key"], "references": "Step"}]
    }
    assert faults(content) == [
        "a.yaml: size: has no annotation 'storage'",
        "a.yaml: Step: has no annotation 'lifecycle'",
        "a.yaml: key: range: no type or enum is called 'nmae'; did you mean 'name'?",
        "a.yaml: Door: key: range: no type or enum is called 'Phases'; did you mean 'Phase'?",
        "a.yaml: Door: gone: is listed in slots but defined nowhere; known are key, status",
        "a.yaml: Root: gates: class 'Door' already has the table 'doors'",
        "a.yaml: Root: portals: class 'Door' already has the table 'doors'",
        "a.yaml: Root: windows: range: no class is called 'Window'; known are Door, Step",
        "a.yaml: Step: releases: no class is called 'Doors'; did you mean 'Door'?",
        "a.yaml: Door: key, status: foreign key: no class is called 'Stpe'; did you mean 'Step'?",
    ]


def test_what_nothing_uses_is_told_when_all_names_are_right() -> None:
    content = schema()
    content["slots"]["unused"] = {"range": "name"}
    content["classes"]["Root"]["attributes"] = {"steps": {"range": "Step"}}
    del content["classes"]["Step"]["abstract"]
    content["classes"]["DoorOpen"]["slot_usage"] = {"kye": {}}
    content["classes"]["Step"]["slot_usage"] = {"stat": {}}
    assert faults(content) == [
        "a.yaml: unused: is a slot of no class",
        "a.yaml: Step: has variants, so it must be abstract",
        "a.yaml: Door: has no table: Root does not list it",
        "a.yaml: Step: stat: slot_usage: the class has no such slot; did you mean 'status'?",
        "a.yaml: DoorOpen: kye: slot_usage: the class has no such slot; did you mean 'key'?",
    ]
