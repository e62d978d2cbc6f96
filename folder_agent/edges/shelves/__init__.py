"""done/ and failed/: where bundles end. Touches the drop folder and its two shelves, and nothing above them."""

from folder_agent.edges.shelves.real import RealShelves

__all__ = ["RealShelves"]
