"""Fields of a configuration that their annotation marks: a path of this machine, a reference to a secret."""

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import inspect


def marked_texts(config: msgspec.Struct, mark: str) -> Iterator[tuple[str, str]]:
    """Each text in a field that is marked (`msgspec.Meta(extra={mark: ...})`), with the name of the field."""
    info = inspect.type_info(type(config))
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        content = getattr(config, field.name)
        if _is_marked(field.type, mark):
            texts = content.values() if isinstance(content, Mapping) else (content,)
            yield from ((field.name, text) for text in texts if text)


def _is_marked(kind: inspect.Type, mark: str) -> bool:
    match kind:
        case inspect.Metadata(extra=extra):
            return bool(extra and extra.get(mark))
        case inspect.UnionType(types=members):  # it may be left out
            return any(_is_marked(member, mark) for member in members)
        case inspect.DictType(value_type=value):  # several of them, by name
            return _is_marked(value, mark)
        case _:
            return False
