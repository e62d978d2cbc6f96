"""`folder-agent support-bundle`: writes the ZIP for support. Writes that file only."""

from __future__ import annotations

import zipfile
from datetime import datetime
from pathlib import Path

from folder_agent.cli.printing import say
from folder_agent.core.catalogue import Language
from folder_agent.edges import durable
from folder_agent.support import collect


def support_bundle(config: Path, out: Path | None, language: Language) -> int:
    """Write the bundle. Returns 0, 1 if it cannot be written, 2 if the file is there already."""
    zh = language == "zh"
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    target = (out or Path(f"folder-agent-support-{stamp}.zip")).absolute()
    if target.exists():
        say(f"{target}: {'已存在' if zh else 'is there already'}", to_stderr=True)
        return 2
    say("正在收集(同时运行 doctor,最多几分钟)…" if zh else "collecting; doctor runs, too: a few minutes at most …")
    part = durable.part_of(target)
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for one in collect(config):
                archive.writestr(one.name, one.content)
        durable.rename_new(part, target)
    except OSError as error:
        part.unlink(missing_ok=True)
        say(f"{target}: {'无法写入' if zh else 'cannot be written'} ({error.strerror})", to_stderr=True)
        return 1
    size = f"{target.stat().st_size / 1024:.0f} KiB"
    say(
        f"已写入 {target}({size})。不含患者信息与密钥,可以发给支持人员。"
        if zh
        else f"written: {target} ({size}). It holds nothing personal and no secret: send it to support."
    )
    return 0
