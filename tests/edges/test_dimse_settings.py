"""Promises of the settings of C-STORE: what cannot work is told at once, with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from folder_agent import settings
from folder_agent.core.errors import AgentError, Disposition
from folder_agent.edges.gateway import open_gateway
from folder_agent.edges.gateway.dimse import node_of
from folder_agent.settings import DimseSettings, Settings, SettingsError
from tests.servers.certificates import make_certificate
from tests.servers.kit import StillClock

HEAD = "[gateway]\nurl = 'https://10.0.0.5'\napp_id = '1'\n[[drops]]\nname = 'ct'\npath = 'drop'\n"


def load(folder: Path, text: str) -> Settings:
    file = folder / "folder-agent.toml"
    file.write_text(HEAD + text, encoding="utf-8")
    return settings.load(file, {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[images]\ntransport = 'dimse'\n", "needs host in [dimse]"),
        ("[dimse]\nhost = 'h'\ncalled_ae = 'TOO LONG FOR A TITLE'\n", "dimse.called_ae"),
        ("[dimse]\nhost = 'h'\ncalling_ae = 'A\\B'\n", "dimse.calling_ae"),
        ("[dimse]\nhost = 'h'\ncalling_ae = '前置机'\n", "dimse.calling_ae"),
        ("[dimse]\nhost = 'h'\nca_file = 'a.pem'\n", "without tls"),
        ("[dimse]\nhost = 'h'\ntls = true\nca_file = 'a.pem'\nfingerprint = 'sha256:%s'\n" % ("0" * 64), "not both"),
        ("[dimse]\nhost = 'h'\ntls = true\nkey_file = 'a.pem'\n", "key_file needs cert_file"),
        ("[dimse]\nhost = 'h'\ntls = true\nfingerprint = 'sha256:12'\n", "dimse.fingerprint"),
        ("[dimse]\nhost = 'h'\nport = 0\n", "dimse.port"),
        ("[images]\nverify = 'stgcmt'\n", 'it needs transport = "dimse"'),
        ("[dimse]\nhost = 'h'\ncommitment_port = 0\n", "dimse.commitment_port"),
        ("[dimse]\nhost = 'h'\ncommitment_wait_s = 0\n", "dimse.commitment_wait_s"),
        ("[dimse]\nhost = 'h'\ntls = true\ncommitment_port = 11113\n", "needs cert_file"),
    ],
)
def test_what_cannot_work_is_told_with_its_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    assert told in str(caught.value)


def test_files_are_looked_for_beside_the_settings(tmp_path: Path) -> None:
    text = "[dimse]\nhost = 'h'\ntls = true\nca_file = 'ca.pem'\ncert_file = 'c.pem'\nkey_file = 'k.pem'\n"
    found = load(tmp_path, text).dimse
    assert (found.ca_file, found.cert_file, found.key_file) == (
        tmp_path / "ca.pem",
        tmp_path / "c.pem",
        tmp_path / "k.pem",
    )


def test_the_destination_names_the_receiver_whether_or_not_it_is_encrypted(tmp_path: Path) -> None:
    for more in ("", "tls = true\n"):
        configured = load(
            tmp_path, f"[images]\ntransport = 'dimse'\n[dimse]\nhost = '10.0.0.5'\ncalled_ae = 'PACS'\n{more}"
        )
        gateway = open_gateway(configured, "token", StillClock(), lambda: False)
        assert gateway.images is not None
        assert gateway.images.destination == "dicom://10.0.0.5:11112/PACS"
        gateway.close()


def test_certificates_that_cannot_be_used_hold(tmp_path: Path) -> None:
    good = make_certificate(tmp_path)
    for changes, code in (
        ({"ca_file": tmp_path / "none"}, "FA-GW-TLS"),
        ({"cert_file": tmp_path / "none"}, "FA-GW-CLIENT-CERT"),
        ({"cert_file": good.public}, "FA-GW-CLIENT-CERT"),  # without its key
    ):
        with pytest.raises(AgentError) as caught:
            node_of(DimseSettings.model_validate({"host": "h", "tls": True, **changes}), 5)
        assert (caught.value.problem.code, caught.value.disposition) == (code, Disposition.HOLD)
    node_of(DimseSettings(host="h", tls=True, cert_file=good.pem), 5)
