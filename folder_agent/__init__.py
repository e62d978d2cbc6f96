"""folder-agent: delivers what a PACS exports to a folder, and loses nothing on the way."""

from importlib.metadata import version

__version__ = version("folder-agent")
