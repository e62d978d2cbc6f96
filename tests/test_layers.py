"""Imports point one way: installing → cli → service → running → console → checkup → assembly → agent, edges → core."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "folder_agent"
MODULES = sorted(ROOT.rglob("*.py"))
MAY_IMPORT = {
    "core": {"core"},
    "settings": {"core"},
    "edges": {"core", "edges", "settings"},
    "agent": {"core", "agent"},
    "simulator": {"simulator"},
    "assembly": {"core", "settings", "edges", "agent"},
    "running": {"core", "settings", "edges", "assembly", "console"},
    "service": {"core", "settings", "edges", "running", "service"},
    "checkup": {"core", "settings", "edges", "agent", "assembly", "checkup"},
    "console": {"core", "settings", "edges", "agent", "assembly", "checkup", "console"},
    "support": {"core", "settings", "edges", "agent", "assembly", "checkup", "support"},
    "installing": {"core", "settings", "edges", "service", "cli", "installing"},
    "cli": {"core", "settings", "edges", "agent", "assembly", "checkup", "console", "running", "service"}
    | {"cli", "simulator", "support"},
}
_OUTSIDE = """
os io socket ssl sqlite3 peewee httpx loguru watchdog subprocess threading time random
shutil tempfile urllib queue asyncio pydicom rich typer
"""
NOT_IN_CORE = set(_OUTSIDE.split())


def imports(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layer(module: Path) -> str:
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_imports_only_from_its_own_layer_and_below(module: Path) -> None:
    if layer(module) in ("__init__", "__main__"):
        return
    layers = {name.split(".")[1] for name in imports(module) if name.startswith("folder_agent.")}
    assert layers & MAY_IMPORT.keys() <= MAY_IMPORT[layer(module)]


@pytest.mark.parametrize("module", [m for m in MODULES if layer(m) == "core"], ids=lambda path: path.name)
def test_the_core_has_no_disk_network_database_log_or_clock(module: Path) -> None:
    assert not {name.split(".")[0] for name in imports(module)} & NOT_IN_CORE
    assert "now()" not in module.read_text(encoding="utf-8").replace("`now()`", "")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_says_what_it_is_for(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
