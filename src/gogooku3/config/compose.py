"""Composes a `RunConfig` from a YAML file or shipped name and overrides; leaves no global state."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from gogooku3.config.plain_yaml import check_plain_yaml, default_names, refuse_functions
from gogooku3.config.run_config import RunConfig
from gogooku3.errors import ConfigError, choices, did_you_mean
from gogooku3.settings import shipped_configs

NOT_OF_A_RUN = {"data/quality"}
"""Shipped files that are not run configurations."""


def load_config(
    config: str | Path,
    overrides: Sequence[str] = (),
    *,
    values: Mapping[str, Any] | None = None,
    configs_dir: Path | None = None,
) -> RunConfig:
    """Compose and validate a configuration.

    Args:
        config: a YAML file, or a name below `configs_dir` such as `model/atft/quickstart`, with or
            without `.yaml` and a leading `configs/`; an existing file wins. Your own file may name
            shipped ones in its `defaults:` list, as in `/model/atft/train`.
        overrides: `group.key=value` in Hydra's grammar; a mapping or list replaces the whole value.
        values: `{"group.key": value}` as Python values, applied after `overrides`.
        configs_dir: folder of the named files; the shipped one by default.

    Raises:
        ConfigError: the file is missing or not YAML, an override can't be parsed, or settings are
            invalid; all invalid settings are listed at once.

    >>> load_config("model/atft/quickstart", ["split.embargo_days=30"]).split.embargo_days
    30
    """
    configs_dir = shipped_configs() if configs_dir is None else configs_dir
    file = _find(config, configs_dir)
    _check_files(file, _roots(file, configs_dir))
    changes = [_parse(text) for text in overrides] + list((values or {}).items())
    try:
        composed = _compose(file, configs_dir)
        for path, value in changes:
            OmegaConf.update(composed, path, value, merge=False, force_add=True)
        refuse_functions(OmegaConf.to_container(composed, resolve=False), str(file))
        plain = OmegaConf.to_container(composed, resolve=True)
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError, RecursionError, TypeError) as exc:
        raise ConfigError(f"{file}: {_one_line(exc)[:300]}; correct it, or take a shipped file") from exc
    assert isinstance(plain, dict)
    return RunConfig.from_mapping({str(key): value for key, value in plain.items()}, source=str(file))


def _find(config: str | Path, configs_dir: Path) -> Path:
    """Resolve a path or a shipped name to an existing file, absolute."""
    given = Path(config)
    named = given if given.suffix in (".yaml", ".yml") else given.parent / f"{given.name}.yaml"
    relative = named.parts[1:] if named.parts[:1] == ("configs",) else named.parts
    for candidate in (given, named, configs_dir.joinpath(*relative)):
        if candidate.is_file():
            return candidate.resolve()
    shipped = {str(file.relative_to(configs_dir).with_suffix("")) for file in configs_dir.rglob("*.yaml")}
    names = sorted(shipped - NOT_OF_A_RUN)
    offer = did_you_mean(str(Path(*relative).with_suffix("")), names)
    no_names = f": no YAML file in {configs_dir}; set GOGOOKU3_CONFIGS_DIR to a folder that has some"
    raise ConfigError(
        f"no configuration '{config}', neither as a file nor by name{offer} the names are {choices(names)}"
        f"{'' if names else no_names}"
    )


def _roots(file: Path, configs_dir: Path) -> list[Path]:
    """Folders with the files that `defaults:` names: the file's own, its `configs` tree, the shipped one."""
    trees = [parent for parent in file.parents if parent.name == "configs"][:1]
    return [file.parent, *trees, configs_dir.resolve()]


def _check_files(
    file: Path, roots: Sequence[Path], checked: frozenset[Path] = frozenset()
) -> frozenset[Path]:
    """Check a file and every file that its `defaults:` may name, before Hydra reads them.

    Returns:
        the files checked so far.
    """
    if file in checked:
        return checked
    check_plain_yaml(file)
    checked |= {file}
    for name in default_names(file):
        for root in (file.parent, *roots):
            if (candidate := root / f"{name}.yaml").is_file():
                checked = _check_files(candidate.resolve(), roots, checked)
    return checked


def _compose(file: Path, configs_dir: Path) -> DictConfig:
    """Compose one file; its `defaults:` may be in its folder, its `configs` tree or the shipped one."""
    # Quoted for Hydra's grammar.
    paths = [
        str(folder).replace("\\", "\\\\").replace("'", "\\'") for folder in _roots(file, configs_dir)[1:]
    ]
    search = ",".join(f"'file://{path}'" for path in paths)
    with initialize_config_dir(str(file.parent), version_base="1.3"), warnings.catch_warnings():
        # Without `_self_` a file's own values win over its defaults, as users expect.
        warnings.filterwarnings("ignore", message=".*Defaults list is missing `_self_`")
        composed = compose(file.name, overrides=[f"hydra.searchpath=[{search}]"])
    OmegaConf.set_struct(composed, False)
    return composed


def _parse(override: str) -> tuple[str, Any]:
    """Parse `group.key=value`; a single run has no use for Hydra's sweeps and deletions."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise ConfigError(
            f"can't read the override '{override}' ({_one_line(error)}); write group.key=value, as in "
            "model.hidden_dim=64, with quotes around text that has special characters"
        ) from error
    if parsed.is_delete() or parsed.is_sweep_override():
        raise ConfigError(
            f"the override '{override}' is not a single value; write group.key=value, a list as "
            '"key=[1,5]", and null for nothing'
        )
    if not parsed.key_or_group:
        raise ConfigError(f"the override '{override}' names no setting; write group.key=value")
    return parsed.key_or_group, parsed.value()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
