"""Every step that changes something, read from the code itself: what the ports, the disk's modules and the lifecycle's
tables have, whoever added it. `declared` says what of it changes nothing or is not reached."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass
from typing import Any

from folder_agent.core.lifecycle import BUNDLE_TABLE, FILE_TABLE
from folder_agent.edges import durable, shelves
from folder_agent.edges.drop_folder import RealDropFolder
from folder_agent.edges.drop_folder.status_area import RealStatusArea
from folder_agent.edges.gateway import HttpGateway
from folder_agent.edges.gateway.dimse import Dimse
from folder_agent.edges.gateway.encapsulate import Encapsulate
from folder_agent.edges.gateway.form import Form
from folder_agent.edges.gateway.stow import Stow
from folder_agent.edges.ledger import PeeweeLedger
from folder_agent.edges.shelves import RealShelves
from folder_agent.edges.unpacking import RealUnpacker
from tests.crash.declared import CHANGES_NOTHING

PORTS: tuple[tuple[str, type[Any]], ...] = (
    ("ledger", PeeweeLedger),
    ("shelves", RealShelves),
    ("gateway", HttpGateway),
    ("stow", Stow),
    ("form", Form),
    ("dimse", Dimse),
    ("encapsulate", Encapsulate),
    ("drop", RealDropFolder),
    ("unpacker", RealUnpacker),
    ("area", RealStatusArea),
)
# What the modules do to the disk, as the system is asked for it.
SYSTEM_CALLS = ("fsync", "mkdir", "rename", "replace", "rmdir", "symlink", "unlink", "utime")
REQUESTS = {"/ris/study/add": "exam", "/dicom-web/studies": "images", "/ris/file/add": "report"}
WIRE = (
    *(f"{what} {moment}" for what in REQUESTS.values() for moment in ("request out", "answer in", "answer read")),
    *("part of an association out", "answer in an association read"),
)


@dataclass(frozen=True)
class Function:
    """A function of a port's class or of a module."""

    owner: Any
    label: str
    name: str

    @property
    def step(self) -> str:
        return f"{self.label}.{self.name}"


def functions() -> list[Function]:
    """All of them, those that only look, too."""
    found = [
        Function(owner, label, name)
        for label, owner in PORTS
        for name, _ in inspect.getmembers(owner, inspect.isfunction)
        if not name.startswith("_")
    ]
    for module in (durable, *_modules_of(shelves)):
        label = module.__name__.rpartition(".")[2]
        own = inspect.getmembers(module, lambda one, module=module: _is_of(one, module))
        found += [Function(module, label, name) for name, _ in own]
    return found


def changing() -> list[Function]:
    """Those that change something."""
    return [one for one in functions() if one.step not in CHANGES_NOTHING]


def transitions() -> list[str]:
    """Every row of the lifecycle's tables, by state and event."""
    bundles = [f"bundle {state} {event}" for state, event in BUNDLE_TABLE]
    return bundles + [f"file {state} {event}" for state, event in FILE_TABLE]


def steps() -> list[str]:
    """The names of everything that must be reached or declared."""
    return [*transitions(), *(one.step for one in changing()), *WIRE, *(f"os.{name}" for name in SYSTEM_CALLS)]


def _modules_of(package: Any) -> list[Any]:
    return [importlib.import_module(f"{package.__name__}.{one.name}") for one in pkgutil.iter_modules(package.__path__)]


def _is_of(one: object, module: Any) -> bool:
    return inspect.isfunction(one) and one.__module__ == module.__name__
