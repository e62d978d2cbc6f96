"""A picture of each page of the installer, in both languages, to be looked at for cut-off text. Not a test.

    python -m tests.windows.pictures SETUP.exe FOLDER [en|zh]

Needs xvfb and xdotool besides the lab's tools, and fonts-noto-cjk. Writes PNG files into the folder.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from folder_agent.simulator import Simulator
from tests.windows.lab import Session, assemble
from tests.windows.lab.assembling import windows_path

_SCREEN = (800, 600)
_CARET = 1000  # bits: what blinks in a field
_TOKEN = "0123456789abcdef0123456789abcdef"
Take = Callable[[str], None]
_PROGRAM = "C:\\Program Files\\folder-agent"


class Screen:
    """An X server of our own, what is on it, and a keyboard."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        reading, writing = os.pipe()
        width, height = _SCREEN
        line = ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24", "-fbdir", str(folder)]
        self._server = subprocess.Popen(
            [*line, "-nolisten", "tcp", "-s", "0"], pass_fds=[writing], stderr=subprocess.DEVNULL
        )
        os.close(writing)
        with os.fdopen(reading) as told:
            self.display = f":{told.readline().strip()}"

    def close(self) -> None:
        self._server.terminate()
        self._server.wait()

    def press(self, *keys: str) -> None:
        self._xdotool("key", "--delay", "60", *keys)

    def write(self, text: str) -> None:
        self._xdotool("type", "--delay", "25", text)

    def settle(self, still_s: float = 1.5, most_s: float = 120) -> bytes:
        """Wait until nothing but a caret has moved for so long; what is shown then, as rows of RGB."""
        end, since, seen = time.monotonic() + most_s, time.monotonic(), b""
        while time.monotonic() < end and time.monotonic() - since < still_s:
            time.sleep(0.2)
            now = self._pixels()
            changed = (int.from_bytes(now, "big") ^ int.from_bytes(seen, "big")).bit_count()
            if changed > _CARET:
                since = time.monotonic()
            seen = now
        return seen

    def picture(self, file: Path) -> None:
        """What is shown once it stands still, as PNG."""
        width, height = _SCREEN
        pixels = self.settle()
        rows = b"".join(b"\0" + pixels[row * width * 3 : (row + 1) * width * 3] for row in range(height))
        parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)))
        with file.open("wb") as png:
            png.write(b"\x89PNG\r\n\x1a\n")
            for kind, content in (*parts, (b"IEND", b"")):
                sum_of = zlib.crc32(kind + content)
                png.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", sum_of))
        print(file)

    def _pixels(self) -> bytes:
        """Xvfb's file of the screen (XWDFile.h): a header, colours, then 4 bytes a pixel: blue, green, red, none."""
        content = (self._folder / "Xvfb_screen0").read_bytes()
        size, colours = struct.unpack(">I", content[:4])[0], struct.unpack(">I", content[76:80])[0]
        raw = content[size + colours * 12 :][: _SCREEN[0] * _SCREEN[1] * 4]
        made = bytearray(_SCREEN[0] * _SCREEN[1] * 3)
        made[0::3], made[1::3], made[2::3] = raw[2::4], raw[1::4], raw[0::4]
        return bytes(made)

    def _xdotool(self, *words: str) -> None:
        subprocess.run(["xdotool", *words], env={**os.environ, "DISPLAY": self.display}, check=True)


@contextmanager
def machine() -> Iterator[tuple[Session, Screen, Simulator]]:
    """A Windows with a screen, and a gateway."""
    with tempfile.TemporaryDirectory() as made, Simulator(Path(made) / "gateway") as gateway:
        folder = Path(made)
        screen = Screen(folder)
        try:
            with Session(assemble(), folder) as windows:
                windows.environment |= {"DISPLAY": screen.display}
                windows.environment["WINEDLLOVERRIDES"] += ";winemenubuilder.exe="
                yield windows, screen, gateway
        finally:
            screen.close()


def installing(windows: Session, screen: Screen, url: str, setup: Path, language: str, take: Take) -> None:
    """Page by page."""
    line = ["explorer", f"/desktop=pictures,{_SCREEN[0]}x{_SCREEN[1]}", windows_path(setup)]
    with subprocess.Popen(["wine", *line, f"/LANG={language}"], env=windows.environment) as running:
        screen.settle(4)
        take("1-welcome")
        screen.press("alt+n")
        screen.settle()
        screen.write("C:\\pacs-export")
        take("2-drop")
        screen.press("alt+n")
        screen.settle()
        screen.write(url)
        for text in ("1251", _TOKEN, ""):
            screen.press("Tab")
            screen.write(text)
        take("3-gateway")
        screen.press("alt+n")
        take("4-account")
        screen.press("Down", "Tab")  # Wine knows no accounts of services
        screen.write("LocalSystem")
        screen.press("alt+i")
        _await_end(windows)
        take("5-installed")
        screen.press("alt+n")
        take("6-result")
        screen.press("Return")
        running.wait(60)


def _await_end(windows: Session) -> None:
    """Until the log's last line is written, which names the log itself."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        for log in windows.prefix.glob("drive_c/users/*/Temp/folder-agent-setup.log"):
            if log.name in log.read_text(encoding="utf-16", errors="replace"):
                return
        time.sleep(0.5)


def removing(windows: Session, screen: Screen, language: str, take: Take) -> None:
    """Of the uninstaller."""
    line = ["explorer", f"/desktop=pictures,{_SCREEN[0]}x{_SCREEN[1]}", f"{_PROGRAM}\\uninstall.exe"]
    with subprocess.Popen(["wine", *line, f"/LANG={language}", f"_?={_PROGRAM}"], env=windows.environment) as running:
        screen.settle(4)
        take("7-uninstall")
        screen.press("alt+u")
        take("8-keep")
        screen.press("Return")
        screen.settle(10)
        take("9-uninstalled")
        screen.press("Return")
        running.wait(60)


def main(setup: Path, target: Path, languages: Sequence[str] = ("en", "zh")) -> None:
    """Everything, in these languages."""
    target.mkdir(parents=True, exist_ok=True)
    for language in languages:
        with machine() as (windows, screen, gateway):

            def take(name: str, language: str = language, screen: Screen = screen) -> None:
                screen.picture(target / f"{language}-{name}.png")

            installing(windows, screen, gateway.url, setup, language, take)
            removing(windows, screen, language, take)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]), sys.argv[3:] or ("en", "zh"))
