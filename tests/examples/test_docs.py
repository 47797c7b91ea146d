"""The documents keep what they say about files, settings, the network and the command line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from gogooku3.config import RunConfig

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def text(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(document), re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text(document), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def settings(model: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and default of every setting."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.default


def spell(value: Any) -> str:
    """A default as YAML has it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(spell, value)) + "]"
    return str(value)


@each_document
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", text(document))
    broken = []
    for link in links:
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", path):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@each_document
def test_every_test_file_named_in_code_exists(document: Path) -> None:
    named = re.findall(r"tests/[\w/]+\.py", text(document))
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_the_guardrails_name_a_test_for_each_risk() -> None:
    section = text(ROOT / "docs/safety-guardrails.md").split("## What is not prevented")[0]
    rows = [row for row in re.findall(r"^\|(.+)\|$", section, re.MULTILINE) if "---" not in row]
    risks = [row for row in rows if row.split("|")[0].strip() != "risk"]
    assert len(risks) > 15
    assert [row for row in risks if not re.search(r"\]\(\.\./tests/.+\.py\)", row)] == []


def test_the_table_of_settings_is_that_of_the_code() -> None:
    section = text(ROOT / "docs/model.md").split("## Settings")[1]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \|", section, re.MULTILINE)
    assert dict(rows) == {key: spell(value) for key, value in settings()}


@each_document
def test_every_setting_named_in_passing_exists(document: Path) -> None:
    keys = {key for key, _ in settings()}
    groups = "|".join(RunConfig.model_fields)
    named = re.findall(rf"(?<![\w/.])((?:{groups})(?:\.[a-z_A-Z]\w*)+)(?=[=` ,\"])", text(document))
    code = {name for name in named if not name.endswith(("py", "yaml", "safetensors", "json"))}
    assert {name for name in code if name not in keys} == set()


def test_the_readmes_python_compiles_and_imports_what_exists() -> None:
    found = blocks(ROOT / "README.md", "python")
    assert found
    for block in found:
        imports = [node for node in ast.parse(block).body if isinstance(node, ast.ImportFrom)]
        exec(compile(ast.Module(imports, []), "README.md", "exec"), {})


def test_the_parameters_of_the_networks_parts_add_up_to_those_of_the_network() -> None:
    from gogooku3.models import ATFTGATFANModel

    table = text(ROOT / "docs/model.md").split("## Stages")[1].split("## Formulas")[0]
    numbers = [int(n.replace(",", "")) for n in re.findall(r"\| ([\d,]+) \|$", table, re.MULTILINE)]
    *parts, total = numbers
    assert total == sum(parts) == ATFTGATFANModel().n_parameters


def test_the_messages_by_symptom_are_those_of_the_code() -> None:
    """`…` in the document stands for values; the text between must be in one string of the code."""
    messages = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(text(file))):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
                messages.add("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                messages.add(node.value)
    quoted = re.findall(r"`([^`\n]+)`", text(ROOT / "docs/symptoms.md"))
    quoted = [message for message in quoted if " " in message and not re.match("gogooku3 |--", message)]
    patterns = [".*".join(map(re.escape, message.split("…"))) for message in quoted]
    assert len(patterns) > 8
    assert [p for p in patterns if not any(re.search(p, message) for message in messages)] == []


@each_document
def test_every_command_named_exists(document: Path) -> None:
    from typer.main import get_command

    from gogooku3.cli.main import app

    commands: Any = get_command(app).commands  # type: ignore[attr-defined]
    known = {*commands, *(f"data {name}" for name in commands["data"].commands)}
    named = re.findall(r"gogooku3 ((?:data )?[a-z]+)(?=[ `\n])", "\n".join(_code(document)))
    assert [name for name in named if name not in known] == []


def test_the_pictures_are_small() -> None:
    pictures = list((ROOT / "docs/images").iterdir())
    assert pictures
    assert max(picture.stat().st_size for picture in pictures) < 300_000


def _code(document: Path) -> list[str]:
    return [*blocks(document, "bash"), *re.findall(r"`([^`\n]+`)", text(document))]


DEVELOPER_PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/developers").glob("*.md"))]


@pytest.mark.parametrize("page", DEVELOPER_PAGES, ids=lambda path: path.name)
def test_every_source_file_named_for_developers_exists(page: Path) -> None:
    """Paths are relative to the root, to src/gogooku3, or to the package named before them."""
    named = set(re.findall(r"[`(*]((?:[a-z_0-9]+/)+[a-z_0-9.]*)[`)*]", text(page)))
    missing = [
        name
        for name in named
        if not any((base / name).exists() for base in (ROOT, ROOT / "src/gogooku3", page.parent))
        and not name.startswith(("fold_", "site/", "data/demo", "data/mine"))
    ]
    assert not missing


@pytest.mark.parametrize("page", ["README.md", "docs/developers/architecture.md"])
def test_the_list_of_packages_is_complete(page: str) -> None:
    content = text(ROOT / page)
    packages = [path.parent.name for path in (ROOT / "src/gogooku3").glob("*/__init__.py")]
    assert len(packages) >= 15
    assert not [name for name in packages if f"  {name}/" not in content and f"`{name}`" not in content]


def test_the_names_in_the_recipes_exist() -> None:
    """A recipe names classes and functions; each is found in a source or test file."""
    recipes = text(ROOT / "docs/developers/architecture.md")
    names = set(re.findall(r"`([A-Z][A-Za-z]+|[a-z]+_[a-z_]+)`", recipes))
    code = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("src/**/*.py"))
    code += (ROOT / "tests/pipeline/test_fit.py").read_text(encoding="utf-8")
    assert {"Forecaster", "FoldData", "new_forecaster", "CLASSES"} <= names
    assert not [name for name in names if not re.search(rf"\b{name}\b", code)]
