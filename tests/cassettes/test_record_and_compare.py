"""What is recorded from a server is served again, and compared with the gateway."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest
from cassette_house import QUICK, GatewayHand, outcomes, record

from ilink.cassettes import Recorder, Replayer, compare, read_cassette
from ilink.cassettes.tape import VERSION
from ilink.errors import ConfigError, StoreError
from ilink.testing import LocalGateway
from ilink.transport.http import HttpTransport
from ilink.transport.seam import Request


async def test_a_client_behind_the_recorder_sees_what_it_would_see_without(
    gateway: LocalGateway, tmp_path: Path
) -> None:
    cassette, found = await record(gateway, tmp_path / "run.cassette")
    assert [one.name for one in found if not one.is_as_expected] == []
    assert len(cassette.takes) > len(found)
    assert {take.endpoint for take in cassette.takes} == {
        "get_bot_qrcode", "get_qrcode_status", "getupdates", "sendmessage", "getconfig", "sendtyping", "getuploadurl",
        "notifystart", "notifystop", "cdn_upload", "cdn_download",
    }  # fmt: skip


async def test_the_gateway_does_as_a_recording_of_itself(gateway: LocalGateway, tmp_path: Path) -> None:
    cassette, _ = await record(gateway, tmp_path / "run.cassette")
    comparison = await compare(cassette, knobs=QUICK)
    assert comparison.differences == []
    assert comparison.skipped == []
    assert comparison.is_same
    assert comparison.played == len(cassette.takes)


@pytest.mark.parametrize(
    ("knobs", "expected"),
    [
        ({"ids.send_as": "string"}, ("sendmessage", "type", "message_id")),
        ({"config.return_context_token": True}, ("getconfig", "field", "context_token")),
        ({"errors.errmsg_style": "empty"}, ("sendmessage", "field", "errmsg")),
        ({"qr.stale_token": "-3", "limits.text_bytes": 3}, ("sendmessage", "value", "ret")),
        ({"poll.suggest_ms": 5}, ("getupdates", "value", "longpolling_timeout_ms")),
        ({"upload.forms": "param"}, ("getuploadurl", "field", "upload_full_url")),
        ({"cdn.require_taskid": True}, ("cdn_download", "status", "")),
        ({"groups.enabled": True}, ("getupdates", "field", "msgs[].group_id")),
    ],
)
async def test_where_the_gateway_does_otherwise_is_told(
    gateway: LocalGateway, tmp_path: Path, knobs: dict[str, object], expected: tuple[str, str, str]
) -> None:
    cassette, _ = await record(gateway, tmp_path / "run.cassette")
    comparison = await compare(cassette, knobs=QUICK | knobs)
    assert expected in {(one.endpoint, one.kind, one.where) for one in comparison.differences}


async def test_a_cassette_is_served_to_a_client_that_asks_the_same(gateway: LocalGateway, tmp_path: Path) -> None:
    cassette, recorded = await record(gateway, tmp_path / "run.cassette")
    hand = _NoHand(gateway)
    async with Replayer(cassette, quiet=0.1) as replayer:
        found = await outcomes(gateway, hand, base_url=replayer.url, cdn_url=f"{replayer.url}/c2c", spends=True)
        assert replayer.is_finished
        assert replayer.misses == []
    assert [(one.name, one.seen) for one in found] == [(one.name, one.seen) for one in recorded]


async def test_a_replayer_says_what_it_was_asked_otherwise(gateway: LocalGateway, tmp_path: Path) -> None:
    cassette, _ = await record(gateway, tmp_path / "run.cassette")
    only = type(cassette)(cassette.label, [take for take in cassette.takes if take.endpoint == "notifystart"])
    async with Replayer(only, quiet=0.05) as replayer:
        found = await outcomes(gateway, _NoHand(gateway), base_url=replayer.url, cdn_url=f"{replayer.url}/c2c")
        assert replayer.is_finished
        assert {miss.endpoint for miss in replayer.misses if miss.n is None} >= {"sendmessage", "cdn_upload"}
    assert {one.name: one.seen for one in found}["getconfig"] == "errmsg ret"


class _NoHand(GatewayHand):
    """Whoever scanned and wrote did so in the recording."""

    async def scan(self, url: str, qrcode: str) -> None:
        assert qrcode in url

    async def write(self, text: str) -> None:
        self.said.append(text)


async def test_a_recording_is_private_from_birth_and_never_written_over(gateway: LocalGateway, tmp_path: Path) -> None:
    path = tmp_path / "run.cassette"
    async with HttpTransport(environ={}) as transport:
        async with Recorder(path, transport=transport, base_url=gateway.api_url, cdn_url=gateway.cdn_url):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(ConfigError, match="exists already"):
            async with Recorder(path, transport=transport, base_url=gateway.api_url, cdn_url=gateway.cdn_url):
                pass
        with pytest.raises(StoreError, match="cannot write"):
            async with Recorder(tmp_path / "no" / "run", transport=transport, base_url=gateway.api_url):
                pass
        with pytest.raises(ConfigError, match="other machines"):
            async with Recorder(tmp_path / "b", transport=transport, base_url=gateway.api_url, listen="0.0.0.0:0"):
                pass
        with pytest.raises(ConfigError, match="no base URL"):
            Recorder(tmp_path / "c", transport=transport, base_url="ilinkai.weixin.qq.com")


async def test_a_server_that_is_not_reached_is_noted_and_told(tmp_path: Path) -> None:
    async with (
        HttpTransport(environ={}) as transport,
        Recorder(tmp_path / "a", transport=transport, base_url="http://127.0.0.1:9") as recorder,
    ):
        url = f"{recorder.url}/ilink/bot/get_bot_qrcode"
        answer = await transport.send(Request(method="GET", url=url), timeout=5)
    assert answer.status == 502
    assert [(take.endpoint, take.end) for take in read_cassette(tmp_path / "a").takes] == [("get_bot_qrcode", "failed")]


def test_a_file_that_is_no_cassette_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for content, named in (
        (b"", "no label"),
        (b"{}\n", "no label"),
        (b'{"ilink_cassette":%d,"api":"","cdn":"","recorded_by":""}\n' % (VERSION + 1), "newer"),
        (b'{"ilink_cassette":1,"api":"","cdn":"","recorded_by":""}\n{"n":1}\n', "line 2"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=named):
            read_cassette(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_cassette(tmp_path / "none")


async def test_a_recording_that_was_cut_in_its_last_line_is_read_up_to_there(
    gateway: LocalGateway, tmp_path: Path
) -> None:
    path = tmp_path / "run.cassette"
    cassette, _ = await record(gateway, path)
    path.write_bytes(path.read_bytes()[:-20])
    shorter = read_cassette(path)
    assert msgspec.json.encode(shorter.takes) != msgspec.json.encode(cassette.takes)
    assert len(shorter.takes) == len(cassette.takes) - 1
