"""The section `openlineage`: where lineage events are sent."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from elspeth.contracts.environment import missing_package
from elspeth.core.settings.steps import PositiveNumber, Section

__all__ = ["OpenLineageSettings", "name_job"]

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PARENT = re.compile(rf"[^/]+/.+/{_UUID}", re.IGNORECASE)


def _transport(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if not isinstance(value.get("type"), str):
        raise ValueError("expected a key type, such as http, kafka, file, console or composite")  # noqa: TRY004
    if (missing := missing_package("openlineage", "openlineage")) is not None:
        raise ValueError(missing)
    return value


def _parent(text: str | None) -> str | None:
    if not text:  # a variable that is not set, where nothing began the run
        return None
    if not _PARENT.fullmatch(text):
        raise ValueError("expected NAMESPACE/JOB/RUN, in which RUN is a UUID, as OPENLINEAGE_PARENT_ID holds it")
    return text


_Name = Annotated[str, StringConstraints(min_length=1)]


class OpenLineageSettings(Section):
    """Where lineage events are sent, in the form of OpenLineage.

    If sending fails, this is reported and recorded; the run does not fail.
    """

    transport: Annotated[dict[str, JsonValue], AfterValidator(_transport)] = Field(
        description="The transport, configured as for the Python client of OpenLineage: `type`, and what that needs."
    )
    namespace: _Name = Field(default="elspeth", description="The namespace of the job.")
    job: _Name | None = Field(
        default=None,
        description="The name of the job. If not given: the settings file and its directory, as in `orders.settings`.",
    )
    deadline_seconds: PositiveNumber = Field(
        default=10.0, description="How long a run waits at its end until all events are sent."
    )
    parent: Annotated[str | None, AfterValidator(_parent)] = Field(
        default=None,
        description="The run that began this one, as `NAMESPACE/JOB/RUN` with a UUID as RUN. Schedulers give it in the"
        " variable `OPENLINEAGE_PARENT_ID`.",
    )


def name_job(section: object, path: Path) -> None:
    """Name a job without a name by the settings file."""
    if isinstance(section, dict) and section.get("job") is None:
        file = path.resolve()
        section["job"] = f"{file.parent.name}.{file.stem}"
