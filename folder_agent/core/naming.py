"""Names for the shelves that every file system takes: Windows, POSIX and whatever a share's server runs.

Pure. The rules are Windows' own ("Naming Files, Paths, and Namespaces"), because they are the narrowest.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

UNPACKED_ZIP = ".unpacked.zip"  # how an archive's name ends that was unpacked: it is not unpacked again
_LEFT_BESIDE = (
    ".txt .log .md .xml .ini .cfg .inf .bak .lnk .url .exe .dll .bat .cmd .jar .htm .html .css .js "
    ".jpg .jpeg .png .gif .bmp .ico .csv .doc .docx .xls .xlsx .ppt .pptx .rtf .zip .rar .7z "
    ".md5 .sha1 .sha256 .ok .done .end .fin .flag .ready .complete .lock .lck .db .mp4 .avi"
)
_FOREIGN = frozenset(_LEFT_BESIDE.split())
_OF_PROGRAMS = ".exe .dll .bat .cmd .com .msi .jar .class .so .dylib .app .inf .htm .html .js .chm .hlp"
_PROGRAMS = frozenset(_OF_PROGRAMS.split())
MAX_BYTES = 200  # UTF-8; a component may have 255, and ` (n)` must still fit

# Besides what Windows forbids: control characters, lone surrogates, line separators, and the marks that reverse text,
# by which one name can be made to look like another.
_FORBIDDEN = re.compile(
    r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]'
)
_TRAILING = re.compile(r"[. ]+\Z")
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|\Z)", re.IGNORECASE)


def stem_of(path: str) -> str:
    """The file's name without its last extension."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[0] or name


def owner_by_stem(inner: str, stems: Mapping[str, int]) -> int | None:
    """`A1.pdf`, `A1_0001.dcm`, `A1-2.dcm` and `A1/IM1` belong to `A1.json`, `A10.pdf` does not; the longest stem wins.

    The first part of the path is what counts; a stem must end at the name's end or before a character that is
    neither letter nor digit.
    """
    head = inner.partition("/")[0].casefold()
    for end in range(len(head), 0, -1):
        if (end == len(head) or not head[end].isalnum()) and (owner := stems.get(head[:end])) is not None:
            return owner
    return None


def is_unpacked(path: str) -> bool:
    """Whether the name is one that we gave to an archive that we unpacked."""
    return path.casefold().endswith(UNPACKED_ZIP)


def is_archive(path: str) -> bool:
    """Whether the name is that of an archive that may be unpacked."""
    return path.casefold().endswith(".zip") and not is_unpacked(path)


def is_cd_directory(path: str) -> bool:
    """Whether it is the directory of a CD (DICOM PS3.10, chapter 8), by its name."""
    return path.rpartition("/")[2].casefold().startswith("dicomdir")


def is_plainly_foreign(path: str) -> bool:
    """Whether the extension is one of things that people leave beside an exam; an empty one of those is no damage."""
    return _extension(path) in _FOREIGN


def is_program(path: str) -> bool:
    """Whether the name is that of a program's file or of a page of one."""
    return _extension(path) in _PROGRAMS


def _extension(path: str) -> str:
    name = path.rpartition("/")[2]
    return f".{name.rpartition('.')[2].casefold()}" if "." in name[1:] else ""


def safe_name(name: str) -> str:
    """The name as one path component that is valid everywhere: NFC, 1 to MAX_BYTES bytes, no device, no trailing dot
    or space. What is not allowed becomes `_`; a name that is already safe comes back unchanged."""
    clean = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)) or "_"
    clean = _TRAILING.sub(_underscores, clean)
    if _DEVICE.match(clean):
        clean = "_" + clean
    cut = clean.encode()[:MAX_BYTES].decode(errors="ignore")
    return _TRAILING.sub(_underscores, cut)


def numbered(name: str, attempt: int) -> str:
    """The safe name for the n-th attempt at finding a free one: `A1`, `A1 (2)`, `A1 (3)`."""
    return safe_name(name) if attempt <= 1 else f"{safe_name(name)} ({attempt})"


def _underscores(found: re.Match[str]) -> str:
    return "_" * len(found[0])


def visible(text: str) -> str:
    """The text without anything that breaks a line, moves a cursor, hides or turns text: names are anyone's to choose.
    An ideographic space, which str.isprintable does not count, is one of the things that they do hold."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else "�" for c in text)
