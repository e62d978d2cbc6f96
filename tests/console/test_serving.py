"""The console's web server is loaded only where it is about to serve."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.site import Site, dicom, sidecar

WEB = ("starlette", "uvicorn", "jinja2", "argon2", "folder_agent.console.server")
RUN = """
import json, runpy, sys
sys.argv[0:1] = ["folder-agent", "run", "--once", "--config"]
try:
    runpy.run_module("folder_agent", run_name="__main__", alter_sys=False)
finally:
    print("\\n" + json.dumps(sorted(sys.modules)))
"""


def test_run_once_does_not_load_the_web_server(site: Site) -> None:
    site.top = '[console]\nlisten = "127.0.0.1:0"\n'
    dicom(site.drop / "A" / "IM1.dcm")
    sidecar(site.drop / "A" / "exam.json", imageCnt=1)
    line = [sys.executable, "-c", RUN, str(site.config())]
    done = subprocess.run(line, capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, site.states()) == (0, {"A": "DONE"}), done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "folder_agent.running" in loaded
    assert [name for name in WEB if name in loaded] == []
