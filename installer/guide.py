"""ADMIN.md as a page for a browser: one language of it, in one file. Pure.

Knows as much of Markdown as ADMIN.md uses: headings, paragraphs, lists, tables, fenced code; code, bold and links.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

PARTS = {"zh": "中文", "en": "English"}
_STYLE = """
body { font: 16px/1.6 "Microsoft YaHei", "Segoe UI", sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em; }
code, pre { font-family: Consolas, monospace; background: #f2f2f2; }
pre { padding: .7em 1em; overflow-x: auto; }
table { border-collapse: collapse; }
th, td { border: 1px solid #bbb; padding: .3em .6em; text-align: left; vertical-align: top; }
"""
_INLINE = (
    (re.compile(r"\*\*(.+?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"\[([^\]]+)\]\((https?://[^)]+)\)"), r'<a href="\2">\1</a>'),
)


def part(text: str, language: str) -> str:
    """The language's part of ADMIN.md. Raises KeyError, ValueError."""
    _, found, rest = text.partition(f"\n## {PARTS[language]}\n")
    if not found:
        raise ValueError(f"ADMIN.md has no part {PARTS[language]}")
    return re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def page(text: str, language: str) -> str:
    """The whole page. Raises ValueError."""
    title = "folder-agent 管理员手册" if language == "zh" else "folder-agent: administrator's guide"
    body = "\n".join(_blocks(part(text, language)))
    code = "zh-CN" if language == "zh" else "en"
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="{code}"><head>{head}</head><body>\n<h1>{title}</h1>\n{body}\n</body></html>\n'


def _blocks(text: str) -> Iterator[str]:
    """Blocks stand between empty lines; within fences, empty lines belong to the code."""
    for block in re.split(r"(^```.*?^```$)|\n{2,}", text, flags=re.MULTILINE | re.DOTALL):
        if block and block.strip():
            yield _block(block.strip("\n"))


def _block(block: str) -> str:
    lines = block.splitlines()
    if block.startswith("```"):
        return f"<pre>{html.escape(chr(10).join(lines[1:-1]))}</pre>"
    if heading := re.match(r"(#{3,5}) (.+)$", block):
        level = len(heading[1]) - 1
        return f"<h{level}>{_inline(heading[2])}</h{level}>"
    if lines[0].startswith("| "):
        return _table(lines)
    if lines[0].startswith("- "):
        return _list("ul", re.split(r"^- ", block, flags=re.MULTILINE)[1:])
    if lines[0].startswith("1. "):
        return _list("ol", re.split(r"^\d+\. ", block, flags=re.MULTILINE)[1:])
    return f"<p>{_inline(_joined(block))}</p>"


def _list(kind: str, items: list[str]) -> str:
    return f"<{kind}>{''.join(f'<li>{_inline(_joined(item))}</li>' for item in items)}</{kind}>"


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{_inline(cell)}</td>' for cell in row)}</tr>" for row in rows[2:])
    return f"<table><tr>{head}</tr>{body}</table>"


def _joined(text: str) -> str:
    """One line; between Chinese characters a line's end is no space."""
    return re.sub(r"\n *", _gap, text.strip())


def _gap(found: re.Match[str]) -> str:
    before, after = found.string[found.start() - 1], found.string[found.end() : found.end() + 1]
    is_chinese = ord(before) >= 0x3000 or before in ",;:()"  # as Chinese is punctuated here
    return "" if is_chinese and after and ord(after) >= 0x3000 else " "


def _inline(text: str) -> str:
    """Code first: what stands in it is not Markdown."""
    pieces = re.split(r"`([^`]+)`", text)
    made = []
    for number, piece in enumerate(pieces):
        escaped = html.escape(piece, quote=False)
        if number % 2:
            made.append(f"<code>{escaped}</code>")
            continue
        for pattern, replacement in _INLINE:
            escaped = pattern.sub(replacement, escaped)
        made.append(escaped)
    return "".join(made)
