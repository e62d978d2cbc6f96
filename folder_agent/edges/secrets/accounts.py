"""Windows: who may open a file, said when it is made. Touches that file, and asks who accounts are."""

from __future__ import annotations

import ctypes
import hashlib
import msvcrt
import os
import struct
import sys
from collections.abc import Sequence

assert sys.platform == "win32"

_SYSTEM, _ADMINISTRATORS, _SELF = "SY", "BA", "OW"  # well-known names of SDDL; OW: whoever owns the file
_ALL, _READ = "FA", "FR"
_BUILT_IN = {"localsystem": "SY", "system": "SY", "nt authority\\system": "SY"}
_GENERIC_WRITE, _CREATE_NEW, _ATTRIBUTE_NORMAL = 0x40000000, 1, 0x80  # winnt.h, fileapi.h
_INVALID_HANDLE = ctypes.c_void_p(-1).value
_REVISION = 1  # SDDL_REVISION_1

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
_kernel32.LocalFree.argtypes = (ctypes.c_void_p,)
_kernel32.LocalFree.restype = ctypes.c_void_p
_kernel32.CreateFileW.argtypes = (
    ctypes.c_wchar_p,
    ctypes.c_uint32,
    ctypes.c_uint32,
    ctypes.c_void_p,
    ctypes.c_uint32,
    ctypes.c_uint32,
    ctypes.c_void_p,
)
_kernel32.CreateFileW.restype = ctypes.c_void_p
_advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW.argtypes = (
    ctypes.c_wchar_p,
    ctypes.c_uint32,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
)
_advapi32.ConvertSidToStringSidW.argtypes = (ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
_advapi32.LookupAccountNameW.argtypes = (
    ctypes.c_wchar_p,
    ctypes.c_wchar_p,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint32),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint32),
    ctypes.POINTER(ctypes.c_uint32),
)


class _Attributes(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint32), ("descriptor", ctypes.c_void_p), ("inherit", ctypes.c_int))


def descriptor(accounts: Sequence[str]) -> str:
    """SDDL for a file that administrators and SYSTEM may do everything with, and the accounts may read; nothing is
    inherited. Whoever makes it and is no administrator keeps it, too. Raises LookupError for an unknown account."""
    everything = [_SYSTEM, _ADMINISTRATORS] + ([] if ctypes.windll.shell32.IsUserAnAdmin() else [_SELF])
    readers = [sid_of(account) for account in accounts]
    grants = [(_ALL, who) for who in everything] + [(_READ, who) for who in readers if who not in everything]
    return "D:P" + "".join(f"(A;;{right};;;{who})" for right, who in grants)


def sid_of(account: str) -> str:
    """The account's SID as text, for SDDL. `.\\name` is an account of this machine. Raises LookupError."""
    if known := _BUILT_IN.get(account.lower()):
        return known
    prefix, _, service = account.partition("\\")
    if prefix.lower() == "nt service" and service:
        return _sid_of_service(service)
    name = os.environ.get("COMPUTERNAME", "") + account[1:] if account.startswith(".\\") else account
    sid, sid_size = ctypes.create_string_buffer(256), ctypes.c_uint32(256)
    domain, domain_size = ctypes.create_unicode_buffer(512), ctypes.c_uint32(512)
    use = ctypes.c_uint32()
    found = _advapi32.LookupAccountNameW(
        None, name, sid, ctypes.byref(sid_size), domain, ctypes.byref(domain_size), ctypes.byref(use)
    )
    text = ctypes.c_void_p()
    if not found or not _advapi32.ConvertSidToStringSidW(sid, ctypes.byref(text)):
        raise LookupError(account)
    try:
        return ctypes.wstring_at(text.value or 0)
    finally:
        _kernel32.LocalFree(text)


def _sid_of_service(name: str) -> str:
    """The SID of a service's own account, which follows from its name whether the service is there yet or not: S-1-5-80
    and the SHA-1 of the name in capitals (Microsoft, RtlCreateServiceSid)."""
    digest = hashlib.sha1(name.upper().encode("utf-16-le"), usedforsecurity=False).digest()
    return "S-1-5-80-" + "-".join(str(part) for part in struct.unpack("<5I", digest))


def open_with(rights: str, path: str, _flags: int) -> int:
    """A new file with these rights (SDDL) from its first moment on; its descriptor, for writing. Raises OSError."""
    made = ctypes.c_void_p()
    if not _advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW(rights, _REVISION, ctypes.byref(made), None):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        attributes = _Attributes(ctypes.sizeof(_Attributes), made.value, 0)
        handle = _kernel32.CreateFileW(
            path, _GENERIC_WRITE, 0, ctypes.byref(attributes), _CREATE_NEW, _ATTRIBUTE_NORMAL, None
        )
        if handle == _INVALID_HANDLE:
            raise ctypes.WinError(ctypes.get_last_error())
    finally:
        _kernel32.LocalFree(made)
    return msvcrt.open_osfhandle(handle, os.O_WRONLY | os.O_BINARY)
