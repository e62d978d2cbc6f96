"""Every reason that a person may meet: a stable code, what is to be done, and its words in Chinese and English.

WHY.txt, `status`, the console, the Event Log and the logs all speak from this one table. The braces are filled from a
Problem's values, private values and path; codes are for ever, words may be improved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from folder_agent.core.errors import AgentError, Disposition, Problem

Language = Literal["zh", "en"]
WAIT, RETRY, HOLD, REFUSE, FATAL = Disposition


@dataclass(frozen=True, slots=True)
class Words:
    """One language's sentences: what is wrong, and what to do."""

    what: str
    todo: str


@dataclass(frozen=True, slots=True)
class Reason:
    """An entry of the catalogue."""

    disposition: Disposition
    zh: Words
    en: Words


def _reason(disposition: Disposition, zh: str, zh_todo: str, en: str, en_todo: str) -> Reason:
    return Reason(disposition, Words(zh, zh_todo), Words(en, en_todo))


_WAIT_ZH, _WAIT_EN = "无需操作,文件到齐后自动发送。", "Nothing: it goes by itself when the files are there."
_REDROP_ZH = "更正后,把整个文件夹放回投放目录即可重试。"
_REDROP_EN = "Correct it, then drop the whole folder back into the drop folder: it is tried again."
_EXPORT_ZH = "请从 PACS 重新导出该文件,再把整个文件夹放回投放目录。"
_EXPORT_EN = "Export that file from the PACS again, then drop the whole folder back into the drop folder."
_AUTO_ZH, _AUTO_EN = "无需操作,会自动重试。", "Nothing: it is tried again by itself."
_REZIP_ZH = "请自行解压,把得到的文件夹放入投放目录。"
_REZIP_EN = "Unpack it yourself, and drop the folder that comes of it."
_ADMIN_ZH, _ADMIN_EN = "请联系管理员。", "Tell the administrator."
_LOOK_ZH = "请查找:有人移动、改名或删除了它;找到后放回原处。"
_LOOK_EN = "Look for it: somebody has moved, renamed or deleted it; put it back where it was."
_ALTERED_ZH = "文件在送达之后被改动:请从备份恢复,或与前置机核对。"
_ALTERED_EN = "It was changed after the delivery: restore it from a backup, or compare with the gateway."

CATALOGUE: dict[str, Reason] = {
    # --- waiting: nothing is wrong yet -------------------------------------------------------------------------------
    "FA-NO-SIDECAR": _reason(
        WAIT,
        "尚无检查信息 JSON 文件",
        "请放入该检查的 JSON 文件。",
        "no sidecar (JSON file) has come yet",
        "Add the JSON file of this exam.",
    ),
    "FA-NO-EARLIER": _reason(
        WAIT,
        "该检查曾送达({name}),但不能沿用当时的检查信息:{zh}",
        "请放入该检查的 JSON 文件。",
        "its study was delivered ({name}), but what was posted then is of no use here: {en}",
        "Add the JSON file of this exam.",
    ),
    "FA-NEEDS-SIDECAR": _reason(
        WAIT,
        "需要检查信息 JSON 文件:影像本身不能确定 {fields}",
        "请放入该检查的 JSON 文件。",
        "it needs a sidecar (JSON file): its images are not certain of {fields}",
        "Add the JSON file of this exam.",
    ),
    "FA-TEMPLATE": _reason(
        WAIT,
        "请填写模板 {where},另存为 {target}",
        "用记事本打开模板,补全空着的值;放好后自动发送。",
        "fill in the template {where}, and save it as {target}",
        "Open it in Notepad and fill in what is empty; the exam then goes by itself.",
    ),
    "FA-HEADERS-DIFFER": _reason(
        WAIT,
        "影像对 {field}({keyword})说法不一:{other} 中为「{ours}」,本文件中为「{theirs}」",
        "请核对;需要时在 JSON 中给出该字段。",
        'the images disagree about {field} ({keyword}): "{ours}" in {other}, "{theirs}" in this one',
        "Check them; give the field in the JSON file where it matters.",
    ),
    "FA-HEADERS-UNCLEAR": _reason(
        WAIT,
        "影像中的 {field}({keyword})缺失、无法解码或格式不对",
        "请核对;需要时在 JSON 中给出该字段。",
        "what the image says of {field} ({keyword}) is missing, cannot be decoded, or is of a form that nobody takes",
        "Check it; give the field in the JSON file where it matters.",
    ),
    "FA-WAIT-STUDY": _reason(
        WAIT,
        "同一检查的「{name}」尚未处理完",
        _AUTO_ZH,
        "waiting for {name}, which is of the same study",
        _AUTO_EN,
    ),
    "FA-LEFT": _reason(
        WAIT,
        "{count} 个文件不属于检查(如光盘目录、浏览程序、帮助),不发送,留在原处:{first}",
        "无需操作;检查送达后可以删除。",
        "{count} files of no exam (a CD's directory, viewer, help) are not sent and stay there: {first}",
        "Nothing; they may be deleted once the exams have gone.",
    ),
    "FA-WAIT-FILES": _reason(WAIT, "等待 {zh}", _WAIT_ZH, "waiting for {en}", _WAIT_EN),
    "FA-WAIT-REST": _reason(
        WAIT,
        "等待 {zh}(连同先前已送达的一起计算)",
        _WAIT_ZH,
        "waiting for {en}, counting what was delivered before",
        _WAIT_EN,
    ),
    "FA-REPEAT": _reason(
        WAIT,
        "内容与 {at} 送达的完全相同({name}),未再发送",
        "无需操作。",
        "already delivered at {at} ({name}); nothing is new, so that nothing was sent",
        "Nothing.",
    ),
    "FA-WAIT-ANY-FILE": _reason(
        WAIT,
        "只有 JSON 文件,等待影像或报告",
        _WAIT_ZH,
        "the sidecar is alone; waiting for images or a report",
        _WAIT_EN,
    ),
    "FA-WAIT-LISTED": _reason(
        WAIT,
        "清单中有 {missing}/{total} 个文件未到,例如 {first}",
        _WAIT_ZH,
        "waiting for {missing} of {total} listed files, such as {first}",
        _WAIT_EN,
    ),
    "FA-WAIT-MARKER": _reason(
        WAIT,
        "等待完成标记文件 {marker}",
        _WAIT_ZH,
        "waiting for the marker file {marker}",
        _WAIT_EN,
    ),
    "FA-WAIT-QUIET": _reason(
        WAIT,
        "等待 {seconds} 秒内不再有变化",
        _WAIT_ZH,
        "waiting until nothing has changed for {seconds} s",
        _WAIT_EN,
    ),
    "FA-SETTLING": _reason(
        WAIT,
        "{count} 个文件仍在写入或尚未检查",
        _WAIT_ZH,
        "{count} files are still being written or looked into",
        _WAIT_EN,
    ),
    "FA-CHANGED": _reason(
        WAIT,
        "文件在发送前又有变化",
        _WAIT_ZH,
        "a file changed before it was sent",
        _WAIT_EN,
    ),
    "FA-FILE-DENIED": _reason(
        WAIT,
        "无权读取该文件",
        "请管理员给服务账户读取权限。",
        "permission to read the file is denied",
        "Let the service's account read it.",
    ),
    "FA-FILE-LOCKED": _reason(
        WAIT,
        "文件被其他程序占用",
        "请等待,或关闭占用它的程序。",
        "another program holds the file",
        "Wait, or close the program that holds it.",
    ),
    "FA-FILE-IO": _reason(
        WAIT,
        "读取文件时出错({detail})",
        "若长时间不恢复,请检查磁盘或共享。",
        "the file cannot be read ({detail})",
        "If it lasts, check the disk or share.",
    ),
    "FA-NO-OWNER": _reason(
        WAIT,
        "无法判断这份 PDF 属于哪个检查",
        "请把它放入该检查的文件夹,或与其 JSON 同名。",
        "nothing says which exam this PDF belongs to",
        "Put it into the exam's folder, or name it like its JSON file.",
    ),
    "FA-NOT-DEEP": _reason(
        WAIT,
        "不在第 {depth} 层的检查文件夹中",
        "请把它移入检查文件夹。",
        "it does not lie in an exam's folder, {depth} levels down",
        "Move it into its exam's folder.",
    ),
    "FA-NOT-EXAM": _reason(
        WAIT,
        "不是检查的文件(既非 DICOM 也非 PDF),不会发送",
        "请移走;文档或图片请另存为 PDF。",
        "it is neither DICOM nor PDF, and is not sent",
        "Take it away; save a document or picture as PDF instead.",
    ),
    "FA-SHORTCUT": _reason(
        WAIT,
        "这是快捷方式,不是文件本身",
        "请复制它所指的文件或文件夹。",
        "it is a shortcut, not the files themselves",
        "Copy the files or the folder that it leads to.",
    ),
    "FA-ARCHIVE": _reason(
        WAIT,
        "这个压缩包不会自动解压",
        "请自行解压,把得到的文件夹放入投放目录。",
        "this archive is not unpacked",
        "Unpack it yourself, and drop the folder that comes of it.",
    ),
    "FA-STATUS-NOTE": _reason(
        WAIT,
        "无法写入 _STATUS.txt({detail})",
        "不影响发送;请检查权限,或移走同名的文件。",
        "_STATUS.txt cannot be written ({detail})",
        "Exams are sent all the same; check the rights, or move another file of that name away.",
    ),
    "FA-CORRECTS": _reason(
        WAIT,
        "将与 failed/ 中「{name}」的文件合并后重试",
        _WAIT_ZH,
        'goes together with the files of "{name}" in failed/, which are then tried again',
        _WAIT_EN,
    ),
    "FA-CORRECTED": _reason(
        WAIT,
        "已与 failed/ 中的文件合并,重新处理",
        _WAIT_ZH,
        "it went together with the files that lay in failed/, and they are tried again",
        _WAIT_EN,
    ),
    "FA-STATUS-AREA": _reason(
        RETRY,
        "无法写入 {where}({detail})",
        "不影响发送;请检查权限。",
        "{where} cannot be written ({detail})",
        "Exams are sent all the same; check the rights.",
    ),
    "FA-UNPACKING": _reason(WAIT, "正在解压 ZIP", _AUTO_ZH, "the ZIP is waiting to be unpacked", _AUTO_EN),
    "FA-UNPACKED": _reason(
        WAIT,
        "ZIP 已解压,内容在同名的 .unpacked 文件夹中继续处理",
        _WAIT_ZH,
        "the ZIP has been unpacked; what was in it goes on in the folder .unpacked of its name",
        _WAIT_EN,
    ),
    "FA-ZIP-BROKEN": _reason(
        REFUSE, "ZIP 不完整或已损坏({detail})", _REZIP_ZH, "the ZIP is damaged or cut short ({detail})", _REZIP_EN
    ),
    "FA-ZIP-EMPTY": _reason(REFUSE, "ZIP 中没有文件", _REZIP_ZH, "there are no files in the ZIP", _REZIP_EN),
    "FA-ZIP-LARGE": _reason(
        REFUSE,
        "ZIP 超出限度:{zh} {found},上限 {limit}",
        _REZIP_ZH,
        "the ZIP exceeds a bound: {found} {en}, at most {limit}",
        _REZIP_EN,
    ),
    "FA-ZIP-LOCKED": _reason(REFUSE, "ZIP 已加密", _REZIP_ZH, "the ZIP is encrypted", _REZIP_EN),
    "FA-ZIP-METHOD": _reason(
        REFUSE,
        "ZIP 使用了无法读取的压缩方式({method};9 是 Deflate64,Windows 对大于 2 GB 的文件使用)",
        _REZIP_ZH,
        "the ZIP is compressed in a way that cannot be read ({method}; 9 is Deflate64, which Windows uses above 2 GB)",
        _REZIP_EN,
    ),
    "FA-ZIP-NAME": _reason(
        REFUSE,
        "ZIP 中的文件名不安全、重复或无法识别:{name}",
        _REZIP_ZH,
        "a name in the ZIP is unsafe, there twice or cannot be read: {name}",
        _REZIP_EN,
    ),
    "FA-ZIP-NESTED": _reason(
        REFUSE, "ZIP 中还有压缩包:{name}", _REZIP_ZH, "there is another archive in the ZIP: {name}", _REZIP_EN
    ),
    # --- the sidecar -------------------------------------------------------------------------------------------------
    "FA-SIDECAR-EMPTY": _reason(REFUSE, "JSON 文件是空的", _REDROP_ZH, "the sidecar is empty", _REDROP_EN),
    "FA-SIDECAR-LARGE": _reason(
        REFUSE,
        "JSON 文件过大(上限 {limit} 字节)",
        _REDROP_ZH,
        "the sidecar is larger than {limit} bytes",
        _REDROP_EN,
    ),
    "FA-SIDECAR-ENCODING": _reason(
        REFUSE,
        "JSON 文件的编码无法识别(支持 UTF-8、UTF-16、GB18030)",
        _REDROP_ZH,
        "the sidecar's text encoding is not UTF-8, UTF-16 or GB18030",
        _REDROP_EN,
    ),
    "FA-SIDECAR-JSON": _reason(
        REFUSE,
        "JSON 语法错误:第 {line} 行第 {column} 列",
        _REDROP_ZH,
        "the sidecar is not valid JSON: line {line}, column {column}",
        _REDROP_EN,
    ),
    "FA-SIDECAR-DEEP": _reason(
        REFUSE,
        "JSON 嵌套过深(上限 {limit} 层)",
        _REDROP_ZH,
        "the sidecar is nested more than {limit} levels deep",
        _REDROP_EN,
    ),
    "FA-SIDECAR-SHAPE": _reason(
        REFUSE,
        "JSON 应为一个对象 {{…}},实际为{found}",
        _REDROP_ZH,
        "the sidecar must be one JSON object, but is {found}",
        _REDROP_EN,
    ),
    "FA-SIDECAR-DUPLICATE": _reason(
        REFUSE,
        "JSON 中字段 {field} 出现了两次",
        _REDROP_ZH,
        "the key {field} stands twice in the sidecar",
        _REDROP_EN,
    ),
    "FA-FIELD-MISSING": _reason(
        REFUSE,
        "缺少必填字段 {field}",
        "请补上该字段。" + _REDROP_ZH,
        "the required field {field} is missing",
        "Fill in the field. " + _REDROP_EN,
    ),
    "FA-FIELD-INVALID": _reason(
        REFUSE,
        "字段 {field} 的值「{value}」无效,应为 {expected}",
        _REDROP_ZH,
        'the field {field} has the value "{value}", but must be {expected}',
        _REDROP_EN,
    ),
    "FA-FIELD-ABSENT": _reason(
        WAIT,
        "未提供字段 {field}(不影响发送)",
        "医院若有该数据,请补充。",
        "the field {field} is not given (the exam is sent all the same)",
        "Give it where the hospital has it.",
    ),
    "FA-FIELD-DROPPED": _reason(
        WAIT,
        "字段 {field} 的值「{value}」无法识别,未发送(应为 {expected})",
        "请更正该字段。",
        'the field {field} was left out: "{value}" is not {expected}',
        "Correct it at the source.",
    ),
    "FA-FIELD-UNKNOWN": _reason(
        WAIT,
        "未知字段 {field},未发送",
        "如有需要请更正字段名。",
        "the unknown key {field} is not sent",
        "Correct its name if it matters.",
    ),
    "FA-FIELD-UNUSED": _reason(
        WAIT,
        "字段 {field} 未采用:设置中的字段对照(mapping)规定该字段另有来源",
        "若应采用它,请管理员调整 [drops.mapping]。",
        "the key {field} is not used: the mapping takes this field from elsewhere",
        "If it should be, have [drops.mapping] adjusted.",
    ),
    "FA-LISTED-PATH": _reason(
        REFUSE,
        "files 清单中的路径「{entry}」不允许(须为本文件夹内的相对路径)",
        _REDROP_ZH,
        'the listed path "{entry}" is not allowed (it must stay inside the sidecar\'s folder)',
        _REDROP_EN,
    ),
    "FA-LISTED-SHAPE": _reason(
        REFUSE,
        "files 清单的第 {index} 项格式不正确",
        _REDROP_ZH,
        "entry {index} of the files list is malformed",
        _REDROP_EN,
    ),
    "FA-LISTED-DIFFERS": _reason(
        REFUSE,
        "文件与清单不符:{what} 应为 {declared},实际为 {found}",
        _EXPORT_ZH,
        "the file is not the one listed: {what} should be {declared}, but is {found}",
        _EXPORT_EN,
    ),
    "FA-NOT-LISTED": _reason(
        REFUSE,
        "清单列出 {declared} 个文件,实际有 {found} 个;该文件不在清单中",
        _REDROP_ZH,
        "{declared} files are listed, {found} are there; this one is not on the list",
        _REDROP_EN,
    ),
    "FA-TWO-SIDECARS": _reason(
        REFUSE,
        "同一检查有两个 JSON 文件:{first} 与 {second}",
        "请只保留正确的一个。" + _REDROP_ZH,
        "two sidecars describe one exam: {first} and {second}",
        "Keep the right one. " + _REDROP_EN,
    ),
    # --- files and counts --------------------------------------------------------------------------------------------
    "FA-TOO-MANY": _reason(
        REFUSE,
        "文件多于声明:{field} 声明 {declared},实际 {found}",
        "请核对是否混入其他检查的文件。" + _REDROP_ZH + "如全部属于该检查,可在控制台中「按现状接受」。",
        "more files than declared: {field} says {declared}, but {found} are there",
        "Check whether another exam's files slipped in. "
        + _REDROP_EN
        + " If all of them belong to it, the console can accept it as it is.",
    ),
    "FA-MISMATCH": _reason(
        REFUSE,
        "影像不属于该检查:{field} 在 JSON 中为「{ours}」,在影像中为「{theirs}」",
        "请核对患者与检查,移走不属于它的文件。" + _REDROP_ZH,
        'the image is not of this exam: {field} is "{ours}" in the sidecar, "{theirs}" in the image',
        "Check patient and exam, and take away what is not of this exam. " + _REDROP_EN,
    ),
    "FA-MIXED": _reason(
        REFUSE,
        "同一检查的影像属于不同患者:{field} 在 {other} 中为「{ours}」,在本文件中为「{theirs}」",
        "请核对患者,分开或移走不属于该检查的文件。" + _REDROP_ZH,
        'images of one study are of two patients: {field} is "{ours}" in {other}, "{theirs}" in this one',
        "Check the patients, and take away what is not of this exam. " + _REDROP_EN,
    ),
    "FA-SAME-INSTANCE": _reason(
        REFUSE,
        "两个内容不同的文件有相同的 SOPInstanceUID:另一个是 {other}",
        _EXPORT_ZH,
        "two different files carry one SOPInstanceUID; the other is {other}",
        _EXPORT_EN,
    ),
    "FA-INSTANCE-CHANGED": _reason(
        REFUSE,
        "同一影像(SOPInstanceUID 相同)已于 {at} 送达(当时为 {other}),此文件({seen} 出现)内容不同",
        '请核对哪一个正确。若应以新的为准,请管理员设置 on_conflict = "newest",再把整个文件夹放回投放目录。',
        "an image with this SOPInstanceUID was delivered at {at} (as {other}); this file, seen at {seen}, differs",
        'Find out which is right. If it is this one, set on_conflict = "newest", then drop the whole folder back.',
    ),
    "FA-FILE-EMPTY": _reason(REFUSE, "文件是空的(0 字节)", _EXPORT_ZH, "the file is empty (0 bytes)", _EXPORT_EN),
    "FA-FILE-TRUNCATED": _reason(
        REFUSE,
        "文件不完整:{detail}",
        _EXPORT_ZH,
        "the file is cut short: {detail}",
        _EXPORT_EN,
    ),
    "FA-FILE-UNREADABLE": _reason(
        REFUSE,
        "无法作为 DICOM 或 PDF 读取:{detail}",
        _EXPORT_ZH,
        "the file cannot be read as DICOM or PDF: {detail}",
        _EXPORT_EN,
    ),
    "FA-FILE-LINK": _reason(
        REFUSE,
        "这是一个链接,不会被跟随",
        "请放入文件本身,而不是链接或快捷方式。",
        "this is a link, and links are never followed",
        "Drop the file itself instead of a link to it.",
    ),
    "FA-FILE-FOREIGN": _reason(
        WAIT,
        "不是检查文件(既非 DICOM 也非 PDF),不会发送",
        "无需操作,它会随文件夹一起移动。",
        "not a file of an exam (neither DICOM nor PDF); it is not sent",
        "Nothing: it is moved along.",
    ),
    "FA-OVERDUE": _reason(
        REFUSE,
        "超过 {hours} 小时仍未到齐",
        _REDROP_ZH,
        "still incomplete after {hours} hours",
        _REDROP_EN,
    ),
    "FA-WITHDRAWN": _reason(
        WAIT,
        "文件在发送前被取走",
        "如需发送,请重新放入。",
        "its files were taken away before they were sent",
        "Drop them again to have them sent.",
    ),
    "FA-SENT-AHEAD": _reason(
        WAIT,
        "其中 {count} 个文件此前已被前置机接收(边到边发),检查信息没有发送",
        "文件重新放入后不会重复发送;如不应留在前置机,请在前置机上删除。",
        "the gateway holds {count} files of it, which were sent ahead (eager); the exam information was not sent",
        "Dropped again, they are not sent twice. If the gateway must not keep them, have them removed there.",
    ),
    "FA-REGROUPED": _reason(
        WAIT,
        "文件改属「{name}」,在那里继续处理",
        _AUTO_ZH,
        "its files turned out to be of {name}, and go on there",
        _AUTO_EN,
    ),
    # --- the gateway -------------------------------------------------------------------------------------------------
    "FA-GW-UNREACHABLE": _reason(
        RETRY,
        "前置机无法连接({detail})",
        "恢复后自动继续;若持续,请检查网络与前置机。",
        "the gateway cannot be reached ({detail})",
        "It goes on by itself; if it lasts, check network and gateway.",
    ),
    "FA-GW-TIMEOUT": _reason(
        RETRY,
        "前置机在 {seconds} 秒内没有响应",
        _AUTO_ZH,
        "the gateway did not answer within {seconds} s",
        _AUTO_EN,
    ),
    "FA-GW-BROKEN": _reason(
        RETRY,
        "与前置机的连接中断({detail})",
        _AUTO_ZH,
        "the connection to the gateway broke ({detail})",
        _AUTO_EN,
    ),
    "FA-GW-TLS": _reason(
        HOLD,
        "不信任前置机的证书({detail})",
        "请管理员核对证书,并设置 ca_file 或 fingerprint。",
        "the gateway's certificate is not trusted ({detail})",
        "Check it, and set ca_file or fingerprint.",
    ),
    "FA-GW-CLIENT-CERT": _reason(
        HOLD,
        "前置机不接受本机的证书,或该证书无法使用({detail})",
        "请管理员核对 [dimse] 的 cert_file 与 key_file;更正后自动继续。",
        "the gateway does not accept our certificate, or it cannot be used ({detail})",
        "Check cert_file and key_file in [dimse]; it goes on by itself afterwards.",
    ),
    "FA-GW-HTTP": _reason(
        RETRY,
        "前置机返回 HTTP {status}",
        _AUTO_ZH,
        "the gateway answered HTTP {status}",
        _AUTO_EN,
    ),
    "FA-GW-ADDRESS": _reason(
        HOLD,
        "前置机地址或路径不对(HTTP {status})",
        "请管理员核对设置中的 url 与路径。",
        "the gateway's address or path is wrong (HTTP {status})",
        "Check url and paths in the settings.",
    ),
    "FA-GW-ANSWER": _reason(
        RETRY,
        "前置机的回答无法理解({detail})",
        _AUTO_ZH,
        "the gateway's answer cannot be understood ({detail})",
        _AUTO_EN,
    ),
    "FA-GW-AUTH": _reason(
        HOLD,
        "前置机拒绝了签名(HTTP {status}:{message})",
        "请管理员核对 app_id、token 与系统时钟;更正后自动继续。",
        "the gateway rejects our signature (HTTP {status}: {message})",
        "Check app_id, token and the clock; it goes on by itself afterwards.",
    ),
    "FA-GW-SIGN-IN": _reason(
        HOLD,
        "前置机(或它前面的代理)要求另一种登录({wanted},HTTP {status})",
        "签名不能代替它:请联系前置机管理员,对签名请求放行;或检查地址是否正确。排除后自动继续。",
        "the gateway, or something before it, wants another sign-in than our signature ({wanted}; HTTP {status})",
        "Have its operator let signed requests through, or correct the address. It goes on by itself afterwards.",
    ),
    "FA-GW-REDIRECT": _reason(
        HOLD,
        "前置机把请求转到别处({where},HTTP {status}),未跟随",
        "若新地址正确,请改设置中的地址;排除后自动继续。",
        "the gateway redirects to {where} (HTTP {status}), which is not followed",
        "If that is the right address, set it in the settings. It goes on by itself afterwards.",
    ),
    "FA-GW-CLOCK": _reason(
        HOLD,
        "本机时钟与前置机相差 {seconds} 秒,签名无效",
        "请管理员校准时钟(NTP);之后自动继续。",
        "this machine's clock is {seconds} s off the gateway's, so that signatures fail",
        "Set the clock (NTP); it goes on by itself afterwards.",
    ),
    "FA-GW-PERMISSION": _reason(
        HOLD,
        "前置机不允许本机构上传(代码 {code}:{message})",
        "请管理员联系平台开通权限;之后自动继续。",
        "the gateway does not permit us to send (code {code}: {message})",
        "Have the platform grant it; it goes on by itself afterwards.",
    ),
    "FA-GW-AGAIN": _reason(
        RETRY,
        "前置机暂时失败(代码 {code}:{message})",
        _AUTO_ZH,
        "the gateway failed for the moment (code {code}: {message})",
        _AUTO_EN,
    ),
    "FA-GW-REFUSED": _reason(
        REFUSE,
        "前置机拒绝了该检查(代码 {code}:{message})",
        _REDROP_ZH,
        "the gateway refused the exam (code {code}: {message})",
        _REDROP_EN,
    ),
    "FA-GW-TOO-LARGE": _reason(
        REFUSE,
        "前置机不接受这么大的文件(单独发送仍为 HTTP 413)",
        "请前置机管理员提高上限(如 nginx 的 client_max_body_size),再把整个文件夹放回投放目录。",
        "the gateway does not take so large a file (HTTP 413 even by itself)",
        "Have its operator raise the bound (in nginx: client_max_body_size), then drop the whole folder back.",
    ),
    "FA-GW-INSTANCE-AGAIN": _reason(
        RETRY,
        "前置机暂时未能保存影像(原因 {reason})",
        _AUTO_ZH,
        "the gateway could not store the image for the moment (reason {reason})",
        _AUTO_EN,
    ),
    "FA-GW-INSTANCE": _reason(
        REFUSE,
        "前置机拒绝了影像(原因 {reason})",
        _EXPORT_ZH,
        "the gateway refused the image (reason {reason})",
        _EXPORT_EN,
    ),
    "FA-GW-UNSAID": _reason(
        RETRY,
        "前置机回答 HTTP {status},但没有说明哪些影像已保存({detail})",
        '会自动重试;若一直如此,请与前置机管理员确认后设置 [images] verify = "qido",或 [stow] trust_status = true。',
        "the gateway answered HTTP {status} and does not say which images it stored ({detail})",
        'It is tried again by itself. If that lasts, have its operator say what it means, and set verify = "qido" in '
        "[images], or trust_status = true in [stow].",
    ),
    "FA-GW-ASSOCIATION": _reason(
        HOLD,
        "前置机拒绝 DICOM 连接({detail})",
        "请管理员核对 [dimse] 的 called_ae、calling_ae,以及前置机允许的 AE 列表;更正后自动继续。",
        "the gateway rejects our DICOM association ({detail})",
        "Check called_ae and calling_ae in [dimse], and whom the gateway lets in; it goes on by itself afterwards.",
    ),
    "FA-GW-BUSY": _reason(
        RETRY,
        "前置机暂时不接受 DICOM 连接({detail})",
        _AUTO_ZH,
        "the gateway takes no DICOM association for the moment ({detail})",
        _AUTO_EN,
    ),
    "FA-GW-SYNTAX": _reason(
        REFUSE,
        "前置机不接收以 {syntax} 编码的 {sop_class}({detail})",
        "请让前置机接受该编码,或从 PACS 以不压缩格式重新导出;再把整个文件夹放回投放目录。本程序不转码。",
        "the gateway does not take {sop_class} in {syntax} ({detail})",
        "Have the gateway accept it, or export uncompressed from the PACS, then drop the whole folder back into the "
        "drop folder. Images are never converted on the way.",
    ),
    "FA-GW-MISSING": _reason(
        RETRY,
        "前置机接收过的 {total} 个文件中,有 {count} 个查不到",
        "会自动重发;若一直如此,请联系前置机管理员:收下的影像没有保存。",
        "the gateway does not have {count} of the {total} files that it accepted",
        "They are sent again by themselves. If that lasts, tell the gateway's operator: what it takes is not kept.",
    ),
    "FA-GW-UNPROVEN": _reason(
        RETRY,
        "前置机没有说明影像是否已保存({detail})",
        "会自动再问,不会因此失败;若一直如此,请检查设置 [images] verify,或联系前置机管理员。",
        "the gateway does not say whether it has the images ({detail})",
        "It is asked again by itself, and nothing fails for it. If that lasts, look at verify in [images], or tell the "
        "gateway's operator.",
    ),
    "FA-GW-NO-REPORT": _reason(
        RETRY,
        "前置机在 {seconds} 秒内没有回报存储确认({detail})",
        "会自动再问,不会因此失败;若一直如此,请在前置机上核对本程序的 AE 标题、地址和端口([dimse] commitment_port),"
        "并检查防火墙。",
        "the gateway has not reported on its storage commitment within {seconds} s ({detail})",
        "It is asked again by itself, and nothing fails for it. If that lasts, see what the gateway knows of us (our "
        "AE title, our address, the commitment_port of [dimse]), and whether a firewall lets its call in.",
    ),
    "FA-GW-NO-COMMITMENT": _reason(
        HOLD,
        "前置机不提供存储确认({detail})",
        "请前置机管理员启用 Storage Commitment Push Model,或修改设置 [images] verify;之后自动继续。",
        "the gateway does not offer storage commitment ({detail})",
        "Have its operator enable the Storage Commitment Push Model, or change verify in [images]; it then goes on by "
        "itself.",
    ),
    "FA-EXHAUSTED": _reason(
        REFUSE,
        "{hours} 小时内重试 {attempts} 次均失败",
        _REDROP_ZH,
        "given up after {attempts} tries in {hours} hours",
        _REDROP_EN,
    ),
    "FA-STOPPING": _reason(
        RETRY,
        "程序正在停止",
        "下次启动后继续。",
        "the agent is stopping",
        "It goes on at the next start.",
    ),
    # --- our own side ------------------------------------------------------------------------------------------------
    "FA-DROP-GONE": _reason(
        RETRY,
        "投放目录无法访问({detail})",
        "恢复后自动继续;请检查共享与权限。",
        "the drop folder cannot be reached ({detail})",
        "It goes on by itself; check the share and its rights.",
    ),
    "FA-COMMITMENT-PORT": _reason(
        HOLD,
        "无法打开接收存储确认的端口 {port}({detail})",
        "请检查是否被其他程序占用,或修改 [dimse] commitment_port(前置机上也要改);之后自动继续。",
        "the port {port} for reports on storage commitment cannot be opened ({detail})",
        "See whether another program has it, or change commitment_port in [dimse] (and at the gateway); it goes on by "
        "itself afterwards.",
    ),
    "FA-FOLDER-UNLISTED": _reason(
        WAIT,
        "投放目录中有 {count} 个子文件夹无法列出(没有权限,或层数超过 64)",
        "请管理员给服务账户列出这些文件夹的权限,或减少层数;之后自动继续。",
        "{count} subfolders of the drop folder cannot be listed (no permission, or more than 64 levels deep)",
        "Let the service's account list them, or have fewer levels; it goes on by itself afterwards.",
    ),
    "FA-SHELF": _reason(
        RETRY,
        "无法移动到 {shelf}({detail})",
        "请检查权限与磁盘空间;之后自动继续。",
        "cannot move to {shelf} ({detail})",
        "Check rights and free space; it goes on by itself afterwards.",
    ),
    "FA-DISK-FULL": _reason(
        RETRY,
        "磁盘已满({where})",
        "请清理磁盘空间;之后自动继续。",
        "the disk is full ({where})",
        "Free some space; it goes on by itself afterwards.",
    ),
    "FA-MOVE-LOST": _reason(
        RETRY,
        "文件既不在投放目录也不在目标目录",
        "请管理员查找该文件。",
        "the file is neither in the drop folder nor on the shelf",
        "Look for the file, and put it back.",
    ),
    "FA-LEDGER": _reason(
        FATAL,
        "账本数据库出错({detail})",
        _ADMIN_ZH,
        "the ledger failed ({detail})",
        _ADMIN_EN,
    ),
    "FA-LEDGER-CORRUPT": _reason(
        FATAL,
        "账本已损坏({detail})",
        "请勿删除账本文件;停止程序后运行 folder-agent ledger rebuild 重建账本(旧账本会保留)。",
        "the ledger is damaged ({detail})",
        "Leave the file as it is, and run `folder-agent ledger rebuild`: it makes a new one, and keeps this one.",
    ),
    "FA-LEDGER-OPEN": _reason(
        FATAL,
        "账本正由另一个程序使用",
        "请先停止正在运行的 folder-agent,再试一次。",
        "the ledger is open in another program",
        "Stop the running agent first, then try again.",
    ),
    "FA-LEDGER-SOUND": _reason(
        FATAL,
        "账本完好,无需重建",
        "无需操作;仍要重建时,请加 --force(旧账本会保留)。",
        "the ledger is sound and need not be rebuilt",
        "Nothing; with --force it is rebuilt all the same, and the old one kept.",
    ),
    "FA-LEDGER-FILLED": _reason(
        FATAL,
        "该数据库中已有账本",
        "请重建到一个空的数据库。",
        "the database holds a ledger already",
        "Rebuild into an empty database.",
    ),
    "FA-LEDGER-REMOTE": _reason(
        FATAL,
        "账本不能放在网络盘上",
        "请把 [ledger] url 设为本机磁盘。",
        "the ledger must not lie on a network drive",
        "Set [ledger] url to a local disk.",
    ),
    "FA-LEDGER-NEWER": _reason(
        FATAL,
        "账本由更新版本的程序写成(版本 {found},本程序 {known})",
        "请升级程序。",
        "the ledger was written by a newer version ({found}, this one knows {known})",
        "Upgrade folder-agent.",
    ),
    "FA-IN-USE": _reason(
        FATAL,
        "{zh}正由另一个程序使用(主机 {host},进程 {pid},自 {since} 起,设置文件 {settings})",
        "若是同一程序被启动了两次,无需操作;否则请停止那一个,或为本程序设置别的投放目录和账本。",
        "{en} is in use by another agent (host {host}, process {pid}, since {since}, settings {settings})",
        "If it was started twice, nothing; else stop that one, or give this one another drop folder and ledger.",
    ),
    "FA-HOLD-WAIT": _reason(
        WAIT,
        "{zh}最近由另一个程序使用(主机 {host},进程 {pid}),最多观察 {seconds} 秒,看它是否仍在运行",
        "无需操作:若它已停止,会自动接管。",
        "{en} was last used by another agent (host {host}, process {pid}); watching up to {seconds} s if it still runs",
        "Nothing: if it has ended, its work is taken over.",
    ),
    "FA-HOLD-LOST": _reason(
        FATAL,
        "{zh}已被另一个程序接管(主机 {host},进程 {pid},自 {since} 起),因为本程序一度没有响应",
        "请只保留其中一个;再次启动本程序是安全的。",
        "{en} was taken over by another agent (host {host}, process {pid}, since {since}) while this one hung",
        "Keep one of the two; starting this one again is safe.",
    ),
    # --- the machine's service manager -------------------------------------------------------------------------------
    "FA-SERVICE-ABSENT": _reason(
        FATAL,
        "尚未安装服务",
        "请运行 folder-agent service install。",
        "the service is not installed",
        "Run `folder-agent service install`.",
    ),
    "FA-SERVICE-RIGHTS": _reason(
        FATAL,
        "管理服务需要管理员权限",
        "请以管理员身份(Linux 上以 root)再运行一次。",
        "only an administrator may handle the service",
        "Run it again as an administrator (on Linux: as root).",
    ),
    "FA-SERVICE-ACCOUNT": _reason(
        FATAL,
        "不能使用该服务账户({detail})",
        "请检查账户名(带域名)和密码。",
        "the service cannot use that account ({detail})",
        "Check its name, with its domain, and the password.",
    ),
    "FA-SERVICE-START": _reason(
        FATAL,
        "服务没有启动,已自行结束(退出码 {detail})",
        "原因见事件日志和日志文件;退出码 2 表示设置有误,请运行 folder-agent doctor。",
        "the service ended instead of starting (exit code {detail})",
        "The Event Log and the log file say why; 2 means the settings: run `folder-agent doctor`.",
    ),
    "FA-SERVICE-FAILED": _reason(
        FATAL,
        "服务管理器报告错误({detail})",
        _ADMIN_ZH,
        "the service manager reports a failure ({detail})",
        _ADMIN_EN,
    ),
    "FA-REBUILT": _reason(
        WAIT,
        "账本曾重建;未送达的原因见其文件夹中的 WHY.txt",
        "请看 WHY.txt。" + _REDROP_ZH,
        "the ledger was rebuilt; why it was not delivered is in WHY.txt in its folder",
        "Read WHY.txt. " + _REDROP_EN,
    ),
    # --- reconcile: where ledger, disk and receipts differ -----------------------------------------------------------
    "FA-REC-FOLDER": _reason(
        HOLD,
        "已送达,但其文件夹不在 done/ 中(应有 {total} 个文件)",
        _LOOK_ZH,
        "delivered, but its folder is not in done/ ({total} files)",
        _LOOK_EN,
    ),
    "FA-REC-FILES": _reason(
        HOLD,
        "文件夹中缺少 {missing}/{total} 个文件,例如 {first}",
        _LOOK_ZH,
        "{missing} of {total} files are not in its folder, such as {first}",
        _LOOK_EN,
    ),
    "FA-REC-SIZE": _reason(
        HOLD,
        "{count} 个文件的大小与回执不符,例如 {first}:应为 {declared} 字节,实际 {found}",
        _ALTERED_ZH,
        "{count} files are not as long as the receipt says, such as {first}: {found} bytes instead of {declared}",
        _ALTERED_EN,
    ),
    "FA-REC-DIGEST": _reason(
        HOLD,
        "{count} 个文件的 SHA-256 与回执不符,例如 {first}",
        _ALTERED_ZH,
        "{count} files do not have the SHA-256 of the receipt, such as {first}",
        _ALTERED_EN,
    ),
    "FA-REC-NO-RECEIPT": _reason(
        HOLD,
        "文件夹中没有回执 receipt.json",
        _LOOK_ZH,
        "there is no receipt.json in its folder",
        _LOOK_EN,
    ),
    "FA-REC-BAD-RECEIPT": _reason(
        HOLD,
        "回执 receipt.json 无法读取",
        _ALTERED_ZH,
        "its receipt.json cannot be read",
        _ALTERED_EN,
    ),
    "FA-REC-NOT-RECEIPTED": _reason(
        HOLD,
        "账本记为已接收的 {count} 个文件不在回执中,例如 {first}",
        _ALTERED_ZH,
        "the ledger has {count} files as accepted of which the receipt says nothing, such as {first}",
        _ALTERED_EN,
    ),
    "FA-REC-NOT-LEDGERED": _reason(
        HOLD,
        "回执中已接收的 {count} 个文件在账本中没有,例如 {first}",
        _ALTERED_ZH,
        "the receipt has {count} files as accepted of which the ledger says nothing, such as {first}",
        _ALTERED_EN,
    ),
    "FA-REC-COUNTS": _reason(
        HOLD,
        "发送的数量(影像/结构化报告/PDF/序列)为 {posted},记录为 {found}",
        "请与前置机核对该检查;必要时重新放入整个检查。",
        "the counts that were posted (images/reports/PDFs/series) are {posted}, those on record {found}",
        "Compare the exam with the gateway; if need be, drop all of it again.",
    ),
    "FA-REC-UNKNOWN": _reason(
        HOLD,
        "{shelf}/ 中有账本不认识的文件夹",
        "若是人工放入的,请移走;若账本曾丢失,请运行 folder-agent ledger rebuild。",
        "a folder in {shelf}/ that the ledger does not know",
        "Take it away if somebody put it there; if the ledger was lost, run `folder-agent ledger rebuild`.",
    ),
    "FA-REC-STRAY": _reason(
        HOLD,
        "done/ 中有账本不认识、也没有可读回执的文件夹",
        "无法证明它已送达:请移到别处;如需发送,请放回投放目录。",
        "a folder in done/ that the ledger does not know, without a receipt that can be read",
        "Nothing proves that it was delivered: take it away, or drop it into the drop folder to have it sent.",
    ),
    "FA-REC-FAILED": _reason(
        HOLD,
        "未送达,且已不在 failed/ 中,也没有重新放入",
        "请查找该文件夹;如需发送,请放回投放目录。",
        "not delivered, not in failed/ any more, and not dropped again",
        "Look for its folder; drop it into the drop folder to have it sent.",
    ),
    "FA-REC-GONE": _reason(
        HOLD,
        "账本中等待的 {count} 个文件已不在投放目录",
        "请查找是谁取走了它们;程序运行时会自行记下。",
        "{count} files that wait, by the ledger, are not in the drop folder",
        "Look who took them away; a running agent takes note of it by itself.",
    ),
    "FA-REC-UNSEEN": _reason(
        HOLD,
        "投放目录中有 {count} 个文件,在程序上次查看之前就在,却未被记录",
        "请重启程序;若仍不行,请把日志发给支持人员。",
        "{count} files in the drop folder were there before the agent's last look, and were not taken up",
        "Restart the agent; if it lasts, send the log to support.",
    ),
    "FA-REC-NEW": _reason(
        WAIT,
        "{count} 个文件尚未被查看",
        "无需操作:程序运行时会自动处理。",
        "{count} files have not been looked at yet",
        "Nothing: a running agent does so by itself.",
    ),
    "FA-INTERNAL": _reason(
        RETRY,
        "程序内部错误({detail})",
        "会自动重试;若持续,请把日志发给支持人员。",
        "an internal error ({detail})",
        "It is tried again; if it lasts, send the log to support.",
    ),
    "FA-CREDENTIALS": _reason(
        HOLD,
        "没有可用的 token({detail})",
        "请管理员运行 folder-agent secret set 保存 token(或在设置中写 token、token_file),然后重新启动程序。",
        "there is no usable token ({detail})",
        "Store the token: folder-agent secret set (or set token or token_file); then start the agent again.",
    ),
    "FA-PURGE": _reason(
        WAIT,
        "done/ 中到期的检查暂时不能清理({detail})",
        "请检查 done/ 的权限;之后自动继续。没有任何文件因此丢失。",
        "done/ cannot be purged as the settings ask ({detail})",
        "Check the rights on done/; it goes on by itself afterwards. No file is lost by it.",
    ),
    "FA-DISK-LOW": _reason(
        WAIT,
        "磁盘空间不足:{where} 所在磁盘剩余 {free} GB",
        "请清理磁盘或扩容;磁盘写满后投放会停下,但不会丢失文件。",
        "little room is left: {free} GB on the disk of {where}",
        "Free some space on that disk: when it is full, deliveries stop, though nothing is lost.",
    ),
    "FA-LOW-SPACE": _reason(
        WAIT,
        "磁盘剩余空间少于 {needed} GB(min_free_gb),已没有可以清理的检查",
        "请清理磁盘或扩容;磁盘写满后投放会停下。",
        "less than {needed} GB is free (min_free_gb), and there is nothing left that may be purged",
        "Free some space on that disk: when it is full, nothing can be dropped or moved any more.",
    ),
    "FA-OPERATOR-REFUSED": _reason(
        REFUSE,
        "操作员 {who} 拒绝发送:{why}",
        _REDROP_ZH,
        "refused by {who}: {why}",
        _REDROP_EN,
    ),
    "FA-OPERATOR-ACCEPTED": _reason(
        WAIT,
        "操作员 {who} 按现状接受:{why}",
        "无需操作。",
        "accepted as it is by {who}: {why}",
        "Nothing.",
    ),
    "FA-CONSOLE-PORT": _reason(
        WAIT,
        "控制台无法使用地址 {listen}(可能已被占用)",
        "请在设置 [console] listen 中换一个端口,或关闭占用它的程序;发送不受影响。",
        "the console cannot have the address {listen}; perhaps another program has it",
        "Set another port in [console] listen, or end the other program; deliveries go on.",
    ),
    "FA-CONSOLE-TLS": _reason(
        WAIT,
        "其他机器可访问的控制台需要证书,而 [console] cert_file 未设置或无法使用",
        "请设置 cert_file(和 key_file),或让控制台只在本机(127.0.0.1)使用;发送不受影响。",
        "a console that others can reach needs a certificate, and [console] cert_file is not set or cannot be used",
        "Set cert_file (and key_file), or let the console listen at 127.0.0.1 only; deliveries go on.",
    ),
    "FA-CONSOLE-ACCOUNT": _reason(
        WAIT,
        "其他机器可访问的控制台需要账户,目前没有账户",
        "请运行 folder-agent console add-user 添加账户;发送不受影响。",
        "a console that others can reach needs an account, and there is none",
        "Make one with `folder-agent console add-user`; deliveries go on.",
    ),
    "FA-WATCHER": _reason(
        WAIT,
        "文件夹通知不可用({detail}),改为定时扫描",
        _AUTO_ZH,
        "folder notifications are off ({detail}); scanning instead",
        _AUTO_EN,
    ),
}


def disposition(problem: Problem) -> Disposition:
    """What the catalogue says is to be done about the problem."""
    return CATALOGUE[problem.code].disposition


def failure(problem: Problem, disposition_: Disposition | None = None) -> AgentError:
    """The exception that carries the problem, with the catalogue's disposition unless the edge knows better."""
    return AgentError(problem, disposition_ or disposition(problem))


def explain(problem: Problem, language: Language) -> str:
    """What is wrong, in one sentence of that language, with the file in front. Private values appear as they are:
    pass `problem.masked()` for anything but the note beside the patient's own files."""
    words = getattr(CATALOGUE[problem.code], language).what
    values: dict[str, object] = {**dict(problem.values), **dict(problem.private)}
    text: str = words.format_map(_Lenient(values))
    mark = ":" if language == "zh" else ": "
    return f"{problem.path}{mark}{text}" if problem.path else text


def what_to_do(problem: Problem, language: Language) -> str:
    """What a person can do about it, in one sentence or two of that language."""
    words: Words = getattr(CATALOGUE[problem.code], language)
    return words.todo


class _Lenient(dict[str, object]):
    """A value that an older ledger did not keep shows as a question mark instead of failing the whole text."""

    def __missing__(self, key: str) -> str:
        return "?"
