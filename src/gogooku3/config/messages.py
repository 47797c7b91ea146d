"""What was expected, what came, what to try: pydantic's findings in words. Checks nothing itself."""

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gogooku3.errors import choices, did_you_mean

EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "is_instance_of": "a path",
    "date_type": "a day as YYYY-MM-DD",
    "tuple_type": "a list such as [1, 5]",
    "dict_type": "a group of 'key: value'",
    "model_type": "a group of settings",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number from {ge} up",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number up to {le}",
    "literal_error": "{expected}",
}
"""What pydantic expected, by the type of its finding."""


def explain(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Spell every problem in a line of its own, with dotted paths; `root` is the schema that was checked."""
    return [line for details in error.errors() for line in _lines(details, root)]


def _lines(details: ErrorDetails, root: type[BaseModel]) -> list[str]:
    keys = [str(key) for key in details["loc"] if key != "[key]"]
    kind, value, path = details["type"], details["input"], ".".join(keys)
    context: dict[str, Any] = details.get("ctx", {})
    if kind == "extra_forbidden":
        return [_unknown(keys, root)]
    if kind == "value_error":
        # A group's own check names its settings itself; a field's check leaves that to us.
        prefix = "" if _schema_at(keys, root) else f"{path}: "
        return [prefix + line for line in str(context["error"]).split("\n")]
    expected = EXPECTED.get(kind, details["msg"]).format(**context)
    return [f"{path}: expected {expected}, came {_spelled(value)}{_hint(kind, value, keys, root)}"]


def _spelled(value: object) -> str:
    """Show a value as YAML does, a text in quotes so that '64' and 64 differ."""
    if isinstance(value, str):
        return f"'{_short(value)}'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _short(str(list(value) if isinstance(value, tuple) else value))


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[:limit] + "..."


def _hint(kind: str, value: object, keys: Sequence[str], root: type[BaseModel]) -> str:
    """Say what to try: another spelling if the value nearly fits, else the default."""
    if kind in ("int_type", "float_type") and isinstance(value, str) and _is_number(value):
        return "; write the number without quotes, and 1e-3 as 1.0e-3 or 0.001"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if kind == "bool_type" and str(value).lower() in ("yes", "on", "1"):
        return "; write true"
    if kind == "bool_type" and str(value).lower() in ("no", "off", "0"):
        return "; write false"
    if kind == "model_type":
        return "; leave it out, or write settings below it"
    while len(keys) > 1 and keys[-1].isdigit():
        keys = keys[:-1]
    group = _schema_at(keys[:-1], root)
    field = group.model_fields.get(keys[-1]) if group else None
    if field is None:
        return ""
    return f"; the default is {_spelled(field.get_default(call_default_factory=True))}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unknown(keys: Sequence[str], root: type[BaseModel]) -> str:
    """Name an unknown setting, the nearest known one, and all there are beside it."""
    group, name, path = _schema_at(keys[:-1], root) or root, keys[-1], ".".join(keys)
    siblings = list(group.model_fields)
    namesakes = [full for full in dotted_names(root) if full.rsplit(".", 1)[-1] == name]
    offer = f"; did you mean '{namesakes[0]}'?" if namesakes else did_you_mean(name, siblings)
    owner = f"{'.'.join(keys[:-1])} has" if len(keys) > 1 else "the groups are"
    return f"unknown setting '{path}'{offer} {owner}: {choices(siblings, limit=20)}"


def dotted_names(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every setting below a schema, as `group.key`."""
    for name, field in schema.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from dotted_names(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _schema_at(keys: Sequence[str], root: type[BaseModel]) -> type[BaseModel] | None:
    """Find the group at a path, or None where a plain value stands."""
    schema = root
    for key in keys:
        annotation = schema.model_fields[key].annotation if key in schema.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        schema = annotation
    return schema
