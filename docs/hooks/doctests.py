"""Moves the doctests at the end of a docstring under a heading, where griffe expects them."""

import re
from typing import Any

import griffe

FIRST = re.compile(r"^>>> ", re.MULTILINE)


class Doctests(griffe.Extension):
    """Adds the heading for the pages."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Move the doctests at a docstring's end under `Examples:`."""
        if obj.docstring is None or (first := FIRST.search(obj.docstring.value)) is None:
            return
        text = obj.docstring.value
        examples = "\n".join(f"    {line}".rstrip() for line in text[first.start() :].splitlines())
        obj.docstring.value = f"{text[: first.start()]}Examples:\n{examples}\n"
