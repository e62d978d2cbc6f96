"""`python -m tests.fuzz.child TARGET LIBFUZZER-OPTIONS…`: one run of libFuzzer in this process, by atheris.

Instrumented is only what the target is about: that keeps the start short.
"""

from __future__ import annotations

import os
import sys

import atheris

from tests.fuzz.faulty import FAULTY

_READING = ["folder_agent.core.sidecar", "folder_agent.core.normalising", "json"]
_FILES = ["folder_agent.edges.drop_folder", "folder_agent.core.filling", "folder_agent.core.normalising"]
INSTRUMENTED = {
    "sidecar": _READING,
    "mapping": [*_READING, "folder_agent.core.mapping", "folder_agent.core.date_patterns"],
    "dicom": _FILES,
    "pdf": _FILES,
    "archive": [
        "folder_agent.edges.unpacking",
        "folder_agent.edges.zip_reading",
        "folder_agent.core.unpacking",
        "zipfile",
    ],
}


def main(name: str, *options: str) -> None:
    """Never returns: libFuzzer ends the process."""
    if name in FAULTY:
        target = atheris.instrument_func(FAULTY[name])
    else:
        with atheris.instrument_imports(include=INSTRUMENTED[name]):
            from tests.fuzz.targets import TARGETS
        target = TARGETS[name]
    atheris.Setup([f"fuzz-{name}", *options], target)
    atheris.Fuzz()


def _in_a_process_of_its_own() -> None:
    """The peak of memory by which libFuzzer goes is handed down through fork and exec: that of a large test process
    would be this one's from the start. A fork of this one, still small, begins anew; its exit code is this one's."""
    if pid := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)


if __name__ == "__main__":
    _in_a_process_of_its_own()
    main(*sys.argv[1:])
