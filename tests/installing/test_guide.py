"""ADMIN.md says what the code does: event ids, exit codes, options; and it becomes a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from folder_agent.installing.texts import TEXTS, Ending
from folder_agent.service.events import MEANINGS, Level
from installer import guide

INSTALLER = Path(__file__).resolve().parent.parent.parent / "installer"
TEXT = (INSTALLER / "ADMIN.md").read_text(encoding="utf-8")
SCRIPT = (INSTALLER / "setup.nsi").read_text(encoding="utf-8")
LEVELS = {"zh": {Level.ERROR: "错误", Level.WARNING: "警告", Level.INFORMATION: "信息"}}
LEVELS["en"] = {level: level.name.lower() for level in Level}
each_language = pytest.mark.parametrize("language", ["zh", "en"])


def rows(language: str, head: str) -> list[list[str]]:
    """The rows of the table whose first heading that is."""
    table = re.search(rf"^\| {head} \|.*\n\|[-| ]+\n((\|.*\n)+)", guide.part(TEXT, language), re.MULTILINE)
    assert table is not None, head
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table[1].splitlines()]


@each_language
def test_every_event_is_told_in_the_words_of_the_code(language: str) -> None:
    told = [row[:3] for row in rows(language, "事件 ID" if language == "zh" else "event id")]
    wanted = [
        [str(int(event)), LEVELS[language][meaning.level], meaning.zh if language == "zh" else meaning.en]
        for event, meaning in MEANINGS.items()
    ]
    assert told == wanted


@each_language
def test_every_exit_code_is_told(language: str) -> None:
    told = [int(row[0]) for row in rows(language, "退出码" if language == "zh" else "exit code")]
    assert told == [int(ending) for ending in Ending]


@each_language
def test_every_option_is_told(language: str) -> None:
    told = {
        word
        for row in rows(language, "参数" if language == "zh" else "option")
        for word in re.findall("/[A-Z]+", row[0])
    }
    read = set(re.findall(r"\$\{Option\} ([A-Z]+) ", SCRIPT)) | set(
        re.findall(r'\$\{GetOptions\} \$0 "/([A-Z]+)', SCRIPT)
    )
    assert told == {f"/{name}" for name in read} | {"/S", "/D"}


def test_both_languages_have_the_same_parts() -> None:
    shapes = [
        re.findall(r"^(#+ |\| |\d+\. |```)", guide.part(TEXT, language), re.MULTILINE) for language in guide.PARTS
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("name", TEXTS)
def test_every_text_of_the_installer_is_used_and_in_both_languages(name: str) -> None:
    code = "".join(
        file.read_text(encoding="utf-8") for file in (INSTALLER.parent / "folder_agent/installing").glob("*.py")
    )
    assert f'said("{name}"' in code
    assert re.findall(r"{(\w+)}", TEXTS[name].zh) == re.findall(r"{(\w+)}", TEXTS[name].en)


def test_every_text_of_the_script_is_there_and_used() -> None:
    texts = (INSTALLER / "texts.nsh").read_text(encoding="utf-8")
    assert set(re.findall(r"^\$\{TEXT\} (\w+) ", texts, re.MULTILINE)) == set(re.findall(r"\$\((T_\w+)\)", SCRIPT))


class Outline(HTMLParser):
    """What is in a page, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@each_language
def test_it_becomes_a_page(language: str) -> None:
    page = guide.page(TEXT, language)
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    assert outline.tags.count("table") == 3
    assert outline.tags.count("h2") == guide.part(TEXT, language).count("\n### ")
    words = re.sub(r"<pre>.*?</pre>|<code>.*?</code>|<style>.*?</style>|<[^>]+>", "", page, flags=re.DOTALL)
    assert not re.search(r"[`*|]|^#|^- ", words, re.MULTILINE)
    other = "十分钟" if language == "en" else "ten minutes"
    assert other not in page


def test_what_markdown_becomes() -> None:
    text = "\n## 中文\n\n### 一\n\n甲,\n乙 `a*b*c<`\nand **b**\n\n1. x\n   y\n2. z\n\n```\na\n\n<b>\n```\n"
    text += "\n## English\n\nno\n"
    body = guide.page(text, "zh").split("</h1>\n")[1].split("\n</body>")[0]
    assert body == (
        "<h2>一</h2>\n<p>甲,乙 <code>a*b*c&lt;</code> and <strong>b</strong></p>\n"
        "<ol><li>x y</li><li>z</li></ol>\n<pre>a\n\n&lt;b&gt;</pre>"
    )
