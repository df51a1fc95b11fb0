"""The action that Chaos Toolkit calls in each of its steps."""


def note(text: str) -> str:
    """Do nothing."""
    return text
