"""From a YAML file to plain values, and from a path in them back to file:line:column.

Reading is done with libyaml's events and a builder of our own: a third of the time of PyYAML's loader, and the place
where aliases (the YAML bomb), duplicate keys, tags and depth are refused. Scalars are typed as in YAML 1.2's core
schema: `yes` and `on` are text, because a country code is not a boolean.
"""

import functools
import math
import re
from pathlib import Path
from sys import intern
from typing import Any

import yaml

from dr.core.runbook import MAX_DEPTH
from dr.errors import DrError
from dr.findings import Path as ValuePath
from dr.findings import Place, text_of, wrong

LONGEST_NUMBER = 40
"""Digits; more of them are text. (Converting a million digits takes seconds.)"""

_SPECIAL: dict[str, object] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NUMERIC = frozenset("+-.0123456789")


class Document:
    """A YAML file: its values, and where each of them stands."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.value = _build(name, text)
        self._places: dict[ValuePath, tuple[Place, Place]] | None = None

    def place(self, path: ValuePath, *, of_key: bool = False) -> Place:
        """Where the value at `path` (or its key) stands; of a path that is not there, where its parent stands."""
        if self._places is None:
            self._places = {}
            _mark(yaml.compose(self.text, Loader=yaml.CSafeLoader), (), self._places)
        while path not in self._places:
            path = path[:-1]
        key, value = self._places[path]
        return key if of_key else value


def read(path: Path) -> Document:
    """The YAML file at `path`.

    Raises:
        RunbookWrong: it cannot be read, is too large, is not UTF-8, or is not the YAML that runbooks are made of.
    """
    return Document(str(path), text_of(path))


def _build(name: str, text: str) -> object:
    try:
        loader = yaml.CSafeLoader(text)
        try:
            return _document(name, loader)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position].decode("utf-8", "ignore")  # libyaml counts bytes
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise wrong(name, [(place, f"a character that YAML does not allow: {error.reason}")]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise wrong(name, [(_place(mark) if mark else None, _scanner_words(error, text))]) from None


def _scanner_words(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    lines = text.splitlines()
    if mark is not None and mark.line < len(lines) and "\t" in lines[mark.line][: mark.column + 1]:
        return "a tab; YAML is indented with spaces"
    problem = str(error.problem or error.context or "it is not YAML")
    return problem.replace("did not find expected", "expected")


def _document(name: str, loader: Any) -> object:  # noqa: C901 - calls would cost half as much again
    """The one document of the stream. One loop without calls: a runbook of 1,000 steps is 16,000 events."""
    next_event, scalar = loader.get_event, yaml.ScalarEvent
    stack: list[tuple[Any, Any]] = []
    box: Any = []  # the collection being filled; the outermost list takes the document itself
    key: Any = None  # the key that waits for its value, in a mapping
    while True:
        event = next_event()
        kind = type(event)
        if kind is scalar:
            if event.anchor is not None or event.tag is not None:
                _refuse_extras(name, event)
            value: Any = event.value
            if key is None and type(box) is dict:
                if value in box:
                    raise _refused(name, event, f"the key {value!r} is there twice")
                key = intern(value)  # in 10,000 steps each key stands 10,000 times
                continue
            if event.implicit[0] and event.tag is None:
                value = _plain(value)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            _refuse_extras(name, event)
            if len(stack) > MAX_DEPTH:
                raise _refused(name, event, f"values are nested more than {MAX_DEPTH} deep")
            if key is None and type(box) is dict:
                raise _refused(name, event, "a list or mapping as a key; keys are text")
            stack.append((box, key))
            box, key = ({} if kind is yaml.MappingStartEvent else []), None
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            value = box
            box, key = stack.pop()
        elif kind is yaml.AliasEvent:
            raise _refused(name, event, f"an alias (*{event.anchor}); aliases are not allowed, write the value out")
        elif kind is yaml.DocumentStartEvent and box:
            raise _refused(name, event, "a second document; a runbook is one document")
        elif kind is yaml.StreamEndEvent:
            if not box or box == [None]:
                raise wrong(name, [(Place(1, 1), "the file is empty")])
            return box[0]
        else:
            continue
        if key is None:
            box.append(value)
        else:
            box[key] = value
            key = None


@functools.lru_cache(maxsize=256)  # the same kinds, timeouts and waits stand in many steps
def _plain(text: str) -> object:
    """A plain scalar by YAML 1.2's core schema."""
    if not text or text[0] in _NUMERIC:
        if _INTEGER.fullmatch(text):
            return int(text) if len(text) <= LONGEST_NUMBER else text
        if _FLOAT.fullmatch(text):
            number = float(text)
            return number if math.isfinite(number) else text  # JSON, and with it the plan, has no infinity
    return _SPECIAL.get(text, text)


def _refuse_extras(name: str, event: Any) -> None:
    """Refuse tags and anchors. `!` alone only says that a scalar is text."""
    if event.tag is not None and event.tag != "!":
        raise _refused(name, event, f"a tag ({event.tag}); tags are not allowed")
    if event.anchor is not None:
        raise _refused(
            name, event, f"an anchor (&{event.anchor}); anchors and aliases are not allowed, write the value out"
        )


def _refused(name: str, event: Any, what: str) -> DrError:
    return wrong(name, [(_place(event.start_mark), what)])


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _mark(node: Any, path: ValuePath, places: dict[ValuePath, tuple[Place, Place]], key: Place | None = None) -> None:
    """Note where each key and value stands. Only done when there is an error to point at."""
    here = _place(node.start_mark)
    places[path] = (key or here, here)
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            _mark(value_node, (*path, key_node.value), places, _place(key_node.start_mark))
    elif isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            _mark(item, (*path, at), places)
