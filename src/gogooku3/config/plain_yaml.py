"""Checks that a YAML file is plain data before it is composed: no tags, aliases or function calls."""

import re
from pathlib import Path

import yaml

from gogooku3.errors import ConfigError

LARGEST = 1 << 20
"""Size limit of a configuration, in bytes; the shipped files have about 2,000."""
DEEPEST = 20
"""Depth limit of nested lists and groups; the shipped files have three."""
_RESOLVER = re.compile(r"\$\{\s*[^}${:]*:")
"""`${name:...}` calls an OmegaConf resolver; `${group.key}` is a harmless reference."""


def check_plain_yaml(path: Path) -> None:
    """Refuse a file that is not one group of settings in plain YAML.

    Tags can build objects, aliases can expand without limit, and functions such as `${oc.env:NAME}` copy the
    environment into a run's files.

    Raises:
        ConfigError: names the line where possible.
    """
    raw = path.read_bytes()
    if len(raw) > LARGEST:
        raise ConfigError(f"{path} has {len(raw):,} bytes, too many for a configuration; name a YAML file")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not text in UTF-8 ({error.reason}); name a YAML file, or save it as UTF-8"
        ) from None
    try:
        _check_events(path, text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(root, yaml.MappingNode) and any(key.value == "hydra" for key, _ in root.value):
            raise ConfigError(f"{path}: the group 'hydra' is not a setting of a run; remove it")
    except yaml.YAMLError as error:
        reason = " ".join(str(error).replace('"<unicode string>", ', "").split())[:200]
        raise ConfigError(f"{path}: not YAML ({reason}); correct it, or take a shipped file") from None


def default_names(path: Path) -> list[str]:
    """Names in the `defaults:` list of a checked file, as paths without `.yaml`, in Hydra's grammar.

    Raises:
        ConfigError: a name is computed.
    """
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = content.get("defaults") if isinstance(content, dict) else None
    names: list[str] = []
    for entry in entries if isinstance(entries, list) else []:
        for group, options in entry.items() if isinstance(entry, dict) else [("", entry)]:
            # As in `optional model@network: wide`, which names model/wide.
            folder = str(group).split(" ")[-1].partition("@")[0]
            for option in options if isinstance(options, list) else [options]:
                name = f"{folder}/{option}".partition("@")[0].removesuffix(".yaml").lstrip("/")
                if "$" in name:
                    raise ConfigError(f"{path}: its defaults name '{name[:80]}'; write the name itself")
                names.append(name)
    return names


def refuse_functions(value: object, where: str) -> None:
    """Refuse `${name:...}` in a text or nested lists and groups; the ConfigError names the text."""
    if isinstance(value, str):
        if _RESOLVER.search(value):
            raise ConfigError(
                f"{where}: '{value[:80]}' calls a function; write the value itself, or a reference such as "
                "${model.hidden_dim}"
            )
    elif isinstance(value, dict):
        refuse_functions(list(value.items()), where)
    elif isinstance(value, list | tuple):
        for inner in value:
            refuse_functions(inner, where)


def _check_events(path: Path, text: str) -> None:
    depth = documents = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        place = f"{path}, line {event.start_mark.line + 1}"
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            raise ConfigError(f"{place}: the tag '{tag}' is refused; write plain values")
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(
                f"{place}: the alias '*{event.anchor}' is refused; write the value itself, or a reference "
                "such as ${model.hidden_dim}"
            )
        if isinstance(event, yaml.ScalarEvent):
            refuse_functions(event.value, place)
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            raise ConfigError(f"{place}: a second document begins; keep one")
        if documents and not depth and isinstance(event, yaml.ScalarEvent | yaml.SequenceStartEvent):
            raise ConfigError(f"{path} has no groups of settings; write it as 'model:', 'training:', ...")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ConfigError(f"{place}: more than {DEEPEST} nested levels; make it flat")
