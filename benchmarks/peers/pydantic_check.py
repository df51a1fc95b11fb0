"""Validate a runbook with PyYAML's C loader and a pydantic model: the usual way, without positions.

usage: pydantic_check.py RUNBOOK
"""

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def duration(text: str) -> str:
    if not re.fullmatch(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+", text):
        raise ValueError("not a duration")
    return text


Duration = Annotated[str, AfterValidator(duration)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Note(Strict):
    text: str


class Retry(Strict):
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    strategy: Literal["fixed", "exponential"] = "exponential"
    wait: Duration = "500ms"
    max: Duration = "10s"
    jitter: Duration = "0s"


class Step(Strict):
    id: Name
    kind: Literal["note"]
    params: Annotated[Note, Field(alias="with")]
    title: str = ""
    timeout: Duration = "1m"
    retry: Retry = Retry()
    on_failure: Literal["pause", "rollback", "continue"] = "pause"
    confirm: bool = False


class Runbook(Strict):
    name: Name
    title: str
    steps: Annotated[list[Step], Field(min_length=1)]
    description: str = ""
    owner: str = ""


runbook = Runbook.model_validate(yaml.load(Path(sys.argv[1]).read_bytes(), Loader=yaml.CSafeLoader))
print(f"{runbook.name}: {len(runbook.steps)} steps")
