"""`folder-agent notify-test`: a test message by every channel of `[notify]`. Touches the network."""

from __future__ import annotations

import time
from pathlib import Path

from folder_agent import settings
from folder_agent.cli.printing import say
from folder_agent.core.catalogue import Language
from folder_agent.edges.calling import NotSent, channels_of, test_message


def notify_test(config: Path, language: Language) -> int:
    """Send it. Returns 0 if every channel took it, 1 if one did not or there is none. Raises SettingsError."""
    channels = channels_of(settings.load(config).notify)
    zh, failed = language == "zh", not channels
    if not channels:
        say("[notify] 没有设置任何渠道" if zh else "[notify] gives no channel", to_stderr=True)
    for channel in channels:
        try:
            channel.send(test_message(time.time()))
        except NotSent as error:
            failed = True
            say(f"{channel.name}: {'未送达' if zh else 'not sent'} ({error})", to_stderr=True)
        else:
            say(f"{channel.name}: {'已送达' if zh else 'sent'}")
    return 1 if failed else 0
