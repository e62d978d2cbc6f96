"""`python -m folder_agent` is the same as `folder-agent`."""

from folder_agent.cli import main

if __name__ == "__main__":
    main()
