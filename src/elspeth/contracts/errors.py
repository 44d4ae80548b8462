"""Errors and error descriptions that cross module boundaries."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from elspeth.schema.checks import AuditIntegrityError

__all__ = ["AuditIntegrityError", "ExecutionError", "RoutingReason", "TransformReason"]


class ExecutionError(TypedDict):
    """Why a node state failed."""

    exception: str
    type: str
    traceback: NotRequired[str]


class RoutingReason(TypedDict):
    """Why a gate chose a route."""

    rule: str
    matched_value: Any
    threshold: NotRequired[float]
    field: NotRequired[str]
    comparison: NotRequired[str]


class TransformReason(TypedDict):
    """What a transform did to a row."""

    action: str
    fields_modified: NotRequired[list[str]]
    validation_errors: NotRequired[list[str]]
