from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ilink.wire.hosts import HostPolicy, join_url

vendor = HostPolicy()
local = HostPolicy("http://127.0.0.1:41001", "https://bots.example.com/prefix", "http://[::1]:8080")


@pytest.mark.parametrize(
    "url",
    [
        "https://ilinkai.weixin.qq.com",
        "https://ilinkai.weixin.qq.com/ilink/bot/getupdates",
        "https://ILINKAI.weixin.QQ.com/",
        "https://ilinkai.weixin.qq.com.",
        "https://ilinkai.weixin.qq.com:443/x",
        "https://novac2c.cdn.weixin.qq.com/c2c/download?encrypted_query_param=a%2Bb&taskid=9",
        "https://weixin.qq.com/x/1",
        "https://ilinkai.wechat.com",
        "HTTPS://ilinkai.wechat.com",
    ],
)
def test_the_vendors_hosts_are_allowed(url: str) -> None:
    assert vendor.allows(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://ilinkai.weixin.qq.com",
        "https://ilinkai.weixin.qq.com:8443",
        "https://ilinkai.weixin.qq.com:0",
        "https://ilinkai.weixin.qq.com:99999",
        "https://ilinkai.weixin.qq.com:port",
        "https://evilweixin.qq.com",
        "https://qq.com",
        "https://evil.qq.com",
        "https://weixin.qq.com.evil.com",
        "https://evilwechat.com",
        "https://wechat.com.evil.com",
        "https://evil.com/ilinkai.weixin.qq.com",
        "https://evil.com?ilinkai.weixin.qq.com",
        "https://evil.com?.weixin.qq.com",
        "https://evil.com#.weixin.qq.com",
        "https://evil.com;.weixin.qq.com",
        "https://evil.com%2f.weixin.qq.com",
        "https://evil.com%00.weixin.qq.com",
        "https://evil.com,ilinkai.weixin.qq.com",
        "https://ilinkai.weixin.qq.com@evil.com",
        "https://user@ilinkai.weixin.qq.com",
        "https://user:pass@ilinkai.weixin.qq.com",
        "https://@ilinkai.weixin.qq.com",
        "https://ilinkai.weixin.qq.com:443@evil.com",
        "https://evil.com\\.weixin.qq.com",
        "https://evil.com\\@ilinkai.weixin.qq.com",
        "https:\\\\ilinkai.weixin.qq.com",
        "https://evil.com/\\ilinkai.weixin.qq.com",
        "https://evil.com\t.weixin.qq.com",
        "https://evil.com\n.weixin.qq.com",
        "https://evil.com .weixin.qq.com",
        "https://evil.com\x00.weixin.qq.com",
        " https://ilinkai.weixin.qq.com",
        "https://ilinkai\u3002weixin\u3002qq\u3002com",
        "https://evil.com\u3002weixin.qq.com",
        "https://evil.com\uff0f.weixin.qq.com",
        "https://evil.com\u2044.weixin.qq.com",
        "https://ilinkai.wei\u0445in.qq.com",
        "https://ilinkai.we\uff49xin.qq.com",
        "https://ilinkai.weixin.qq.com\uff1a443",
        "https://.weixin.qq.com",
        "https://evil..weixin.qq.com",
        "https://ilinkai.weixin.qq.com..",
        "https://weixin.qq.com:443:443",
        "https://[ilinkai.weixin.qq.com]",
        "https://[::1].weixin.qq.com",
        "https://[",
        "https:ilinkai.weixin.qq.com",
        "https:/ilinkai.weixin.qq.com",
        "https:///ilinkai.weixin.qq.com",
        "//ilinkai.weixin.qq.com",
        "ilinkai.weixin.qq.com",
        "ftp://ilinkai.weixin.qq.com",
        "file://ilinkai.weixin.qq.com/etc/passwd",
        "javascript://ilinkai.weixin.qq.com/%0aalert(1)",
        "http://127.0.0.1:41001",
        "http://localhost",
        "",
        "https://",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    assert not vendor.allows(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:41001/c2c/upload?x=1",
        "https://bots.example.com/other",
        "https://BOTS.example.com:443",
        "http://[::1]:8080/",
        "https://ilinkai.weixin.qq.com",
    ],
)
def test_what_the_user_configured_is_allowed(url: str) -> None:
    assert local.allows(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "http://127.0.0.1:41002",
        "https://127.0.0.1:41001",
        "http://127.0.0.1:41001@evil.com",
        "http://127.1:41001",
        "http://2130706433:41001",
        "http://localhost:41001",
        "http://bots.example.com",
        "https://bots.example.com:8443",
        "https://x.bots.example.com",
        "http://[::1]",
        "http://[::ffff:127.0.0.1]:41001",
    ],
)
def test_a_configured_url_allows_its_own_origin_and_no_other(url: str) -> None:
    assert not local.allows(url)


def test_more_hosts_make_a_new_policy() -> None:
    wider = vendor.with_hosts("http://127.0.0.1:9", "not a url")
    assert wider.allows("http://127.0.0.1:9/x")
    assert wider.with_hosts("http://127.0.0.1:10").allows("http://127.0.0.1:9")
    assert not vendor.allows("http://127.0.0.1:9/x")


def test_what_is_no_url_configures_nothing() -> None:
    assert not HostPolicy("", "nonsense", "ftp://x").allows("nonsense")


@settings(max_examples=200, deadline=None)
@given(
    url=st.text(alphabet="htps:/\\@.?#[]%weixinqqcom evil0\u3002\uff0f", max_size=40).map("https://".__add__)
    | st.text()
)
def test_no_text_raises(url: str) -> None:
    assert isinstance(local.allows(url), bool)


@settings(max_examples=200, deadline=None)
@given(host=st.text(alphabet="abwxein.qcomht@:/\\#?", max_size=30))
def test_an_allowed_host_ends_in_the_vendors_domain(host: str) -> None:
    url = f"https://{host}"
    if vendor.allows(url):
        name = re.split(r"[/?#]", host)[0].removesuffix(":443").removesuffix(":").removesuffix(".")
        assert f".{name}".endswith((".weixin.qq.com", ".wechat.com"))


@pytest.mark.parametrize(
    ("base", "path", "joined"),
    [
        ("https://h", "ilink/bot/getupdates", "https://h/ilink/bot/getupdates"),
        ("https://h/", "/ilink/bot/getupdates", "https://h/ilink/bot/getupdates"),
        ("https://h/prefix", "ilink/x", "https://h/prefix/ilink/x"),
        ("https://h/prefix/", "ilink/x", "https://h/prefix/ilink/x"),
    ],
)
def test_joining_keeps_the_prefix_of_the_base(base: str, path: str, joined: str) -> None:
    assert join_url(base, path) == joined
