"""What is installed: the wheel's contents and the pins."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from gogooku3 import __version__

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_holds_configs_types_and_the_report_template(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"gogooku3-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {
        f"gogooku3/configs/{f.relative_to(ROOT / 'configs')}" for f in (ROOT / "configs").rglob("*.yaml")
    }
    assert shipped
    assert names >= shipped | {"gogooku3/py.typed", "gogooku3/reporting/templates/report.html.j2"}


def test_the_constraints_pin_every_direct_dependency_from_the_index() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)
    pinned = {_normal(pin.partition("==")[0]) for pin in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (own,) = re.findall(r"gogooku3\[(.+)\]", extras["dev"][0])
    brought = [requirement for extra in own.split(",") for requirement in extras[extra]]
    wanted = [*project["dependencies"], *extras["dev"][1:], *brought]
    direct = {_normal(re.split(r"[<>=!\[ ]", requirement)[0]) for requirement in wanted}
    assert direct - pinned == set()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
