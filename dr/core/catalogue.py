"""A closed set of types by name, each loaded when it is first asked for."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TypeVar

T = TypeVar("T")


class Catalogue(Mapping[str, type[T]]):
    """Types by the names that a person writes.

    A runbook uses a few of them: importing all took longer than checking one of 1,000 steps.
    """

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        """`places` says for each name where below `package` its type is: `module:Type`."""
        self._package = package
        self._places = places
        self._loaded: dict[str, type[T]] = {}

    def __getitem__(self, name: str) -> type[T]:
        if name not in self._loaded:
            module, _, attribute = self._places[name].partition(":")
            self._loaded[name] = getattr(import_module(f"{self._package}.{module}"), attribute)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
