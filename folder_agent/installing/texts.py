"""The installer's own words, by name, and what each ending is called to a script. Pure."""

from __future__ import annotations

from enum import IntEnum

from folder_agent.core.status import Phrase


class Ending(IntEnum):
    """Exit codes of a step, which the installer hands on."""

    DONE = 0
    FAILED = 1  # anything else
    UNUSABLE = 2  # settings, account or token cannot be used: nothing was changed
    DOWNGRADE = 3  # a newer version is or was here: nothing was changed
    SERVICE = 4  # the service does not stop or start


TEXTS = {
    "downgrade": Phrase(
        "已安装更新的版本 {previous},本安装包是 {own}。不支持降级;没有做任何改动。",
        "version {previous} is installed, newer than this one ({own}). There is no way back; nothing was changed.",
    ),
    "newer-ledger": Phrase(
        "数据文件夹中的账本由更新的版本写成。请安装那个版本或更新的版本;没有做任何改动。",
        "the ledger in the data folder is of a newer version. Install that one, or a newer one; nothing was changed.",
    ),
    "lacking": Phrase(
        "首次安装需要:投放目录、前置机地址、appId(或以 /CONFIG= 给出设置文件)。缺少:{what}",
        "a first installation needs drop folder, gateway address and appId (or /CONFIG=). Lacking: {what}",
    ),
    "token-lacking": Phrase(
        "没有给出 token;请稍后运行 folder-agent secret set,在此之前不会发送",
        "no token was given: store it by folder-agent secret set; nothing is sent before that",
    ),
    "account": Phrase("服务账户不能使用:{why}", "the service's account cannot be used: {why}"),
    "password": Phrase(
        "账户 {account} 需要密码(/PASSWORDFILE=)", "the account {account} needs a password (/PASSWORDFILE=)"
    ),
    "mapped": Phrase(
        "{drop} 是映射的网络盘,服务看不到它;已改用 {share}",
        "{drop} is a mapped drive, which a service does not have; {share} is used instead",
    ),
    "unreadable": Phrase("{file} 无法读取({why})", "{file} cannot be read ({why})"),
    "checked": Phrase("检查通过", "checked: it can be installed"),
    "stopped": Phrase("服务已停止(手头的步骤已完成)", "the service has stopped, the step in hand finished"),
    "kept": Phrase("升级前的设置和账本已备份到 {folder}", "settings and ledger of before are kept in {folder}"),
    "no-space": Phrase(
        "磁盘空间不足,无法备份账本(需要 {need} MB,剩余 {free} MB);请清理后重试",
        "too little space to keep a copy of the ledger ({need} MB needed, {free} MB free): free some, and try again",
    ),
    "server": Phrase(
        "账本在 PostgreSQL 中:其备份由数据库管理员负责;服务启动时升级表结构",
        "the ledger is in PostgreSQL, whose backup is its administrator's; the service brings its tables up to date",
    ),
    "written": Phrase("设置已写入 {file}", "settings written: {file}"),
    "settings-stay": Phrase("沿用现有设置 {file}", "the settings stay as they are: {file}"),
    "token-stored": Phrase("token 已加密保存", "the token is stored, encrypted"),
    "migrated": Phrase("账本可用,版本正确", "the ledger opens, and is of this version"),
    "service-stays": Phrase("服务沿用账户 {account}", "the service keeps its account {account}"),
    "service": Phrase("服务已安装,账户 {account}", "the service is installed, as {account}"),
    "started": Phrase("服务已启动", "the service runs"),
    "removed": Phrase("服务已移除", "the service is removed"),
    "data-stays": Phrase("数据保留在 {folder}", "the data stay in {folder}"),
    "data-gone": Phrase("设置、账本和日志已删除:{folder}", "settings, ledger and logs are deleted: {folder}"),
    "left": Phrase("不是本程序的,保留:{path}", "not ours, and left: {path}"),
    "drop-stays": Phrase("投放目录不动:{path}", "the drop folder is not touched: {path}"),
    "fault": Phrase("安装步骤出错:{why}", "a step of the installation failed: {why}"),
}
