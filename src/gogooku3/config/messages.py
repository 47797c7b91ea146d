"""Messages for pydantic's errors: what was expected, what came, what to try."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
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
"""Expected value, by the type of pydantic's error."""


def explain(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """One line per problem, with dotted paths; `root` is the schema that was validated."""
    return [line for details in error.errors() for line in _lines(details, root)]


def _lines(details: ErrorDetails, root: type[BaseModel]) -> list[str]:
    keys = [str(key) for key in details["loc"] if key != "[key]"]
    kind, value, path = details["type"], details["input"], ".".join(keys)
    context: dict[str, Any] = details.get("ctx", {})
    if kind == "extra_forbidden":
        return [_unknown(keys, root)]
    if kind == "value_error":
        # A group's validator names its settings; a field's validator doesn't.
        prefix = "" if _schema_at(keys, root) else f"{path}: "
        return [prefix + line for line in str(context["error"]).split("\n")]
    field = _field_at(keys, root)
    if field is not None and is_fixed(field):
        expected = _spelled(get_args(field.annotation)[0])
        why = str(field.description).rstrip(".")
        return [f"{path}: expected {expected}, came {_spelled(value)}; leave it out. {why}"]
    expected = EXPECTED.get(kind, details["msg"]).format(**context)
    return [f"{path}: expected {expected}, came {_spelled(value)}{_hint(kind, value, keys, root)}"]


def _spelled(value: object) -> str:
    """Spell a value as YAML does, text in quotes so that '64' and 64 differ."""
    if isinstance(value, str):
        return f"'{_short(value)}'"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _short(str(list(value) if isinstance(value, tuple) else value))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "..."


def _hint(kind: str, value: object, keys: Sequence[str], root: type[BaseModel]) -> str:
    """Advice: another spelling if the value nearly fits, else the default."""
    if kind in ("int_type", "float_type") and isinstance(value, str):
        with suppress(ValueError):
            float(value)
            return "; write the number without quotes, and 1e-3 as 1.0e-3 or 0.001"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if kind == "bool_type" and str(value).lower() in ("yes", "on", "1"):
        return "; write true"
    if kind == "bool_type" and str(value).lower() in ("no", "off", "0"):
        return "; write false"
    if kind == "model_type":
        return "; leave it out, or write settings below it"
    field = _field_at(keys, root)
    return (
        "" if field is None else f"; the default is {_spelled(field.get_default(call_default_factory=True))}"
    )


def _unknown(keys: Sequence[str], root: type[BaseModel]) -> str:
    """Name an unknown setting, the nearest known one, and the settings of its group."""
    group, name, path = _schema_at(keys[:-1], root) or root, keys[-1], ".".join(keys)
    siblings = [name for name, field in group.model_fields.items() if not is_fixed(field)]
    namesakes = [full for full in dotted_names(root) if full.rsplit(".", 1)[-1] == name]
    offer = f"; did you mean '{namesakes[0]}'?" if namesakes else did_you_mean(name, siblings)
    listed = f"{'.'.join(keys[:-1])} has" if keys[:-1] else "the groups are"
    offer = "; remove it," if offer == ";" and keys[:-1] else offer
    return f"unknown setting '{path}'{offer} {listed}: {choices(siblings, limit=20)}"


def is_fixed(field: FieldInfo) -> bool:
    """True for a setting with one legal value, which configurations may name but can't change."""
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def dotted_names(schema: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every setting of a schema, as `group.key`."""
    for name, field in schema.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from dotted_names(field.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _field_at(keys: Sequence[str], root: type[BaseModel]) -> FieldInfo | None:
    """The field at a path, or at that of the list whose entry the path names; None for none."""
    while len(keys) > 1 and keys[-1].isdigit():
        keys = keys[:-1]
    group = _schema_at(keys[:-1], root)
    return group.model_fields.get(keys[-1]) if group else None


def _schema_at(keys: Sequence[str], root: type[BaseModel]) -> type[BaseModel] | None:
    """The group at a path, or None for a plain value."""
    schema = root
    for key in keys:
        annotation = schema.model_fields[key].annotation if key in schema.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        schema = annotation
    return schema
