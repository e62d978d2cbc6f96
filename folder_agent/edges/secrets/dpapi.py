"""Windows: a secret is encrypted by DPAPI for this machine, in a file that administrators, SYSTEM, the named accounts
and (if he is no administrator) its author may open.

Touches the file that is being made. DPAPI with machine scope (CRYPTPROTECT_LOCAL_MACHINE) lets any account of this
machine decrypt, so that the service need not be the one who set it: the file's rights decide who can. A stolen disk
image or backup shows nothing without the machine's own keys.
"""

from __future__ import annotations

import ctypes
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from functools import partial

assert sys.platform == "win32"  # before what is there only then

from folder_agent.edges.secrets.accounts import descriptor, open_with  # noqa: E402

KIND = b"dpapi"
_ENTROPY = b"folder-agent gateway token"  # so that no other program's blob is taken for ours
_NO_DIALOGUE, _MACHINE = 0x1, 0x4  # CRYPTPROTECT_UI_FORBIDDEN, CRYPTPROTECT_LOCAL_MACHINE (dpapi.h)


class _Blob(ctypes.Structure):
    _fields_ = (("size", ctypes.c_uint32), ("data", ctypes.c_void_p))


_crypt32 = ctypes.WinDLL("crypt32", use_last_error=True)
_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_kernel32.LocalFree.argtypes = (ctypes.c_void_p,)
_kernel32.LocalFree.restype = ctypes.c_void_p
for _function in (_crypt32.CryptProtectData, _crypt32.CryptUnprotectData):
    _function.argtypes = (
        ctypes.POINTER(_Blob),
        ctypes.c_void_p,
        ctypes.POINTER(_Blob),
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.POINTER(_Blob),
    )
    _function.restype = ctypes.c_int


def seal(content: bytes) -> bytes:
    """Encrypted, as one line of text. Raises OSError."""
    return b64encode(_through(_crypt32.CryptProtectData, content, _NO_DIALOGUE | _MACHINE))


def unseal(content: bytes) -> bytes:
    """The inverse of `seal`, on the same machine. Raises OSError elsewhere, ValueError for what is not such a line."""
    return _through(_crypt32.CryptUnprotectData, b64decode(content, validate=True), _NO_DIALOGUE)


def opener(accounts: Sequence[str]) -> Callable[[str, int], int]:
    """For `open`: makes the file with its rights from the first moment on. LookupError for an unknown account."""
    return partial(open_with, descriptor(accounts))


def _through(function: Callable[..., int], content: bytes, flags: int) -> bytes:
    given, entropy, made = _blob(content), _blob(_ENTROPY), _Blob()
    if not function(ctypes.byref(given[0]), None, ctypes.byref(entropy[0]), None, None, flags, ctypes.byref(made)):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        return ctypes.string_at(made.data or 0, made.size)
    finally:
        _kernel32.LocalFree(made.data)


def _blob(content: bytes) -> tuple[_Blob, object]:
    """With what keeps its memory alive."""
    buffer = ctypes.create_string_buffer(content, len(content))
    return _Blob(len(content), ctypes.cast(buffer, ctypes.c_void_p)), buffer
