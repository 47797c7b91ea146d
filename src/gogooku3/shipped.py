"""Where the configs lie that ship with the package: inside the wheel, or at a checkout's root."""

from pathlib import Path


def shipped_configs() -> Path:
    """Folder of the shipped YAML files, absolute.

    >>> (shipped_configs() / "model" / "atft" / "train.yaml").is_file()
    True
    """
    package = Path(__file__).resolve().parent
    inside_wheel = package / "configs"
    return inside_wheel if inside_wheel.is_dir() else package.parents[1] / "configs"
