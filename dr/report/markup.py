"""HTML and SVG as nested calls, in which text cannot become markup.

A journal holds what runbooks, targets and people said, so all of it is hostile here. Whoever writes
`element("td", text)` has escaped it without thinking of it; a template engine would be one more dependency at run time
and no safer.
"""

import html

from dr.report.words import printable


class Html(str):
    """Markup. Anything else handed to `element` is text; so is the sum of both: a slip shows, and does no harm."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | float | None) -> Html:
    """`<name attribute="…">children</name>`; children that are not `Html` are escaped.

    `class_` becomes `class`, `text_anchor` becomes `text-anchor`; None leaves an attribute out; numbers are rounded to
    tenths.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(_value(value), lines=False)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name == "meta":  # the only one here that has no end
        return Html(f"<{name}{said}>")
    return Html(f"<{name}{said}>{fragment(*children)}</{name}>")


def fragment(*children: str) -> Html:
    """The children beside each other."""
    return Html("".join(child if isinstance(child, Html) else _escaped(child, lines=True) for child in children))


def _escaped(text: str, *, lines: bool) -> str:
    """Text that is neither markup nor hides or reorders what stands beside it; line breaks stay where they may."""
    return html.escape("\n".join(map(printable, text.split("\n"))) if lines else printable(text))


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
