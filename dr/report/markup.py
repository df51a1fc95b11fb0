"""HTML and SVG as nested calls, in which text cannot become markup.

A journal holds what runbooks, targets and people said, so all of it is hostile here. Whoever writes
`element("td", text)` has escaped it without thinking of it; a template engine would be one more dependency at run time
and no safer.
"""

import html
import unicodedata

VOID = frozenset({"br", "link", "meta"})


class Html(str):
    """Markup. Anything else handed to `element` is text; so is the sum of both: a slip shows, and does no harm."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | float | None) -> Html:
    """`<name attribute="…">children</name>`; children that are not `Html` are escaped.

    `class_` becomes `class`, `text_anchor` becomes `text-anchor`; None leaves an attribute out; numbers are rounded to
    tenths.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(visible(_value(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{fragment(*children)}</{name}>")


def fragment(*children: str) -> Html:
    """The children beside each other."""
    return Html(
        "".join(child if isinstance(child, Html) else html.escape(visible(child, lines=True)) for child in children)
    )


def visible(text: str, *, lines: bool = False) -> str:
    """The text with every character that could hide or reorder others shown as its number: `⟨U+202E⟩`.

    Control characters (a terminal obeys them), bidirectional and invisible ones (they make a line read as another), and
    halves of surrogate pairs (no file takes them). Line breaks and tabs stay only where they may part `lines`.
    """
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() or (lines and char in "\n\t") or unicodedata.category(char) == "Zs"
        else f"⟨U+{ord(char):04X}⟩"
        for char in text
    )


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
