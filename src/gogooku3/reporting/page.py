"""Self-contained HTML pages: templates with charts, and the formats of their values."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gogooku3.files.atomic import write_text_atomic
from gogooku3.reporting.tables import money

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def write_page(
    path: Path | str,
    template: str,
    context: Mapping[str, Any],
    filters: Mapping[str, Callable[..., str]] | None = None,
) -> None:
    """Render a template of this package with plotly inlined, and write it atomically; creates the folder.

    `filters` are template filters in addition to `format_value`, `chart_json` and `money`.
    """
    from jinja2 import Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("gogooku3.reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"format_value": format_value, "chart_json": chart_json, "money": money}
    environment.filters |= filters or {}
    html = environment.get_template(template).render(context, plotly=get_plotlyjs())
    write_text_atomic(path, html)


def chart_json(figure: "Figure") -> str:
    """JSON of a figure, escaped so that it cannot close the script element it is embedded in."""
    text: str = figure.to_json()
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted names and formatted values of nested settings."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", format_value(value)


def format_value(value: object) -> str:
    """Format a manifest's value: short floats, grouped thousands, lists without brackets.

    >>> format_value(606127), format_value(0.0001), format_value([1, 5]), format_value({"a": None})
    ('606,127', '0.0001', '1, 5', 'a: null')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {format_value(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(format_value, value))
    return str(value)
