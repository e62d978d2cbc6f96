"""`python -m folder_agent.service --config FILE`: what Windows' service manager starts. Nothing for a person."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    if sys.platform != "win32":
        sys.exit("Windows' service manager starts this; elsewhere, use folder-agent run")
    else:
        from folder_agent.service.windows.hosting import main

        main(sys.argv[1:])
