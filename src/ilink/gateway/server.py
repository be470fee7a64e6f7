"""The gateway as a program: two listeners in one process, from the first bind to the last byte stored.

async with GatewayServer(ServerOptions()) as server:     # inside a running event loop
    server.info.api_url ...
    await server.gateway.add_person("alice")

run(ServerOptions(ready_json=True))                       # a whole process, until SIGTERM or Ctrl-C
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal, Self

import msgspec
from msgspec import UNSET

from ilink.errors import ConfigError
from ilink.gateway.authority import VENDOR_API_URL, VENDOR_CDN_URL, Authority, open_authority
from ilink.gateway.control.answers import Info
from ilink.gateway.control.app import ControlApp
from ilink.gateway.control.guard import Guard, is_loopback
from ilink.gateway.control.state import ControlState
from ilink.gateway.http import CdnDoor, ProtocolApp
from ilink.gateway.listeners import Listener, parse_address
from ilink.gateway.memory import keep_freed_memory
from ilink.gateway.service import Gateway
from ilink.gateway.sharing import SWEEP_SECONDS
from ilink.gateway.tunnels import TunnelProxy
from ilink.process import allow_many_files, collecting_seldom
from ilink.storage.blobs import open_object_store
from ilink.storage.gateway_stores import open_gateway_stores
from ilink.storage.locks import ProcessLock
from ilink.storage.private import make_private_folder

__all__ = ["GatewayServer", "ServerOptions", "run"]

_YOUNG_OBJECTS: Final = 200_000
"""Two thousand polls' worth: a look at less finds nearly all of it still in use, a tenth of the time to wake them."""

_GRACE: Final = 5.0
"""Seconds that running requests get when the gateway stops; held polls are answered at once and need none of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How a gateway is started.

    Attributes:
        listen: HOST:PORT for bots; port 0 takes a free one.
        control_listen: HOST:PORT for people, tests and the phone page; beyond loopback only with a key.
        control_key: What callers of the control API must present, or None.
        control_names: Further names the control listener is called by, such as that of a proxy in front of it.
        data: A folder that keeps the state; None for a temporary one that goes away with the server.
        media_url: Where files are kept, such as `s3://bucket/folder`; None for a folder beside the state. Needs the
            extra `s3`.
        database_url: `postgresql://...` where the state lives instead of in the folder, so that several gateways may
            share it. Needs the extra `postgres`.
        hints_url: `nats://...` where those tell each other what is new; None for the database itself.
        sweep_seconds: How often each of those looks for what it was not told of.
        drain: For how many seconds a gateway that is told to stop serves on, while `/readyz` says that it leaves and
            each answer ends its connection: so that a balancer sends nobody there when it closes.
        profile: A named set of knobs.
        knobs: Knobs that differ from the profile.
        seed: Makes ids, tokens and keys follow from it; None for unpredictable ones.
        synchronous: "FULL" survives a power cut; "NORMAL" the death of the process; "OFF" is for tests.
        ready_json: Whether `run` prints the ready line on standard output.
        tls: Serve the protocol and the CDN by HTTPS, with a test authority of the data folder; needs the extra `tls`.
        vendor_urls: Name Tencent's own addresses in answers, as WeChat does; for clients that reach them here.
        proxy_listen: HOST:PORT of a proxy that leads Tencent's names here, for clients whose hosts are fixed.
    """

    listen: str = "127.0.0.1:0"
    control_listen: str = "127.0.0.1:0"
    control_key: str | None = None
    control_names: tuple[str, ...] = ()
    data: Path | None = None
    media_url: str | None = None
    database_url: str | None = None
    hints_url: str | None = None
    sweep_seconds: float = SWEEP_SECONDS
    drain: float = 0.0
    profile: str = "observed"
    knobs: Mapping[str, object] = field(default_factory=dict[str, object])
    seed: int | None = None
    synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL"
    ready_json: bool = False
    tls: bool = False
    vendor_urls: bool = False
    proxy_listen: str | None = None


class GatewayServer:
    """A gateway on its two listeners; open it with `async with`. Nothing is bound or written before that.

    Attributes:
        gateway: Everything the gateway knows and does, without HTTP.
        info: Where it listens: the fields of the ready line.
    """

    gateway: Gateway
    info: Info

    def __init__(self, options: ServerOptions | None = None) -> None:
        self._options = options or ServerOptions()
        self._stack = AsyncExitStack()
        self._guard: Guard | None = None

    async def __aenter__(self) -> Self:
        """Look at the database, bind, open the store, serve.

        Raises:
            StoreError: The database or the server for hints cannot be used; nothing listens.
            ConfigError: An address or key will not do, or what TLS or an object store needs is missing; nothing was
                written.
            StoreError: The object store does not answer, or lets us not in.
            StoreLockedError: Another process uses the data folder; the error names it.
        """
        options = self._options
        _check_key(options)
        _check_tls(options)
        blobs = None if options.media_url is None else await open_object_store(options.media_url)
        async with AsyncExitStack() as stack:
            folder = _open_folder(stack, options.data, is_shared=options.database_url is not None)
            authority = open_authority(folder / "tls", now=datetime.now(UTC)) if options.tls else None
            await _check_database(options, folder)
            protocol = Listener.bind(options.listen, tls=_tls_context(authority, options.listen))
            stack.callback(protocol.release)
            control = Listener.bind(options.control_listen)
            stack.callback(control.release)
            proxy = await _open_proxy(stack, options, protocol)
            self.info = _describe(protocol, control, options.control_key, authority=authority, proxy=proxy)
            self.gateway = await stack.enter_async_context(
                Gateway(
                    folder,
                    api_url=VENDOR_API_URL if options.vendor_urls else self.info.api_url,
                    cdn_url=VENDOR_CDN_URL if options.vendor_urls else self.info.cdn_url,
                    seed=options.seed,
                    profile=options.profile,
                    knobs=options.knobs,
                    synchronous=options.synchronous,
                    blobs=blobs,
                    database_url=options.database_url,
                    hints_url=options.hints_url,
                    sweep_seconds=options.sweep_seconds,
                )
            )
            self._guard = Guard(
                host=control.host, port=control.port, key=options.control_key, names=options.control_names
            )
            state = ControlState(gateway=self.gateway, info=self.info, guard=self._guard)
            stack.push_async_callback(self._stop, protocol, control)
            await protocol.start(ProtocolApp(self.gateway, cdn=CdnDoor(self.gateway)), admission=self.gateway.admission)
            await control.start(ControlApp(state))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @property
    def login_url(self) -> str:
        """The page's address for a browser; with a key it is a link that signs one browser in, once."""
        assert self._guard is not None
        if not self._guard.has_key:
            return self.info.phone_url
        return f"{self.info.control_url}/login?code={self._guard.new_login_code()}"

    async def _stop(self, protocol: Listener, control: Listener) -> None:
        """Answer whoever waits, let running requests finish, and close the listeners; the store closes after."""
        if self._options.drain:
            await self._drain(protocol, control)
        protocol.stop_accepting()
        control.stop_accepting()
        # Only now: whoever polls again at once finds the door closed, not a poll that is held anew.
        self.gateway.stop_waiting()
        self.gateway.events.aclose_readers()
        await asyncio.gather(protocol.aclose(grace=_GRACE), control.aclose(grace=_GRACE))

    async def _drain(self, protocol: Listener, control: Listener) -> None:
        """Serve on for a while, not ready any more, and let every caller go with an answer that ends its connection."""
        self.gateway.is_leaving = True
        protocol.leave()
        control.leave()
        self.gateway.state.waiting.release()
        await asyncio.sleep(self._options.drain)


def run(options: ServerOptions, *, announce: Callable[[GatewayServer], None] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C, then store everything and return 0, the exit code.

    Args:
        options: With `ready_json`, exactly one line of JSON goes to standard output when both listeners answer.
        announce: Called at the same moment with the open server.

    Raises:
        ConfigError: An option will not do.
        StoreLockedError: Another process uses the data folder; the error names it.
    """
    keep_freed_memory()
    allow_many_files()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(options, announce))
    return 0


async def _serve(options: ServerOptions, announce: Callable[[GatewayServer], None] | None) -> None:
    stopping = asyncio.Event()
    _on_signals(stopping.set)
    async with GatewayServer(options) as server:
        if options.ready_json:
            sys.stdout.write(msgspec.json.encode(server.info).decode() + "\n")
            sys.stdout.flush()
        if announce is not None:
            announce(server)
        with collecting_seldom(young=_YOUNG_OBJECTS):
            await stopping.wait()


def _on_signals(stop: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()

    def stop_soon(_number: int, _frame: object) -> None:
        loop.call_soon_threadsafe(stop)

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, stop_soon)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's event loop where the platform has it, else None for the standard one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _open_folder(stack: AsyncExitStack, data: Path | None, *, is_shared: bool) -> Path:
    if data is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ilink-gateway-")))
    folder = make_private_folder(data)
    # With a database of its own kind the folder holds files only, and several processes may use it.
    if not is_shared:
        stack.enter_context(ProcessLock(folder / "gateway.lock", subject=f"the data folder {folder}"))
    return folder


def _check_key(options: ServerOptions) -> None:
    key = options.control_key
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        message = "the control key must be visible ASCII characters without blanks, since it travels in a header"
        raise ConfigError(message)
    host, _ = parse_address(options.control_listen)
    if key is None and not is_loopback(host):
        message = (
            f"the control API on {options.control_listen} could be called from other machines without a key; "
            "give a control key, or listen on 127.0.0.1"
        )
        raise ConfigError(message)


async def _check_database(options: ServerOptions, folder: Path) -> None:
    """Refuse a database that cannot be used before anybody can connect; it is brought up to date."""
    if options.database_url is None:
        if options.hints_url is not None:
            message = "hints are for gateways that share a database: give its URL too, or leave the one for hints out"
            raise ConfigError(message)
        return
    async with open_gateway_stores(folder, database_url=options.database_url, hints_url=options.hints_url):
        pass


def _check_tls(options: ServerOptions) -> None:
    if options.tls or not (options.vendor_urls or options.proxy_listen):
        return
    message = "Tencent's addresses are reached by HTTPS only: turn TLS on too"
    raise ConfigError(message)


def _tls_context(authority: Authority | None, listen: str) -> ssl.SSLContext | None:
    """Return what a listener needs for TLS; on all addresses it is reached by those that the authority always names."""
    if authority is None:
        return None
    host, _ = parse_address(listen)
    return authority.server_context([host], now=datetime.now(UTC))


async def _open_proxy(stack: AsyncExitStack, options: ServerOptions, protocol: Listener) -> TunnelProxy | None:
    if options.proxy_listen is None:
        return None
    return await stack.enter_async_context(TunnelProxy(options.proxy_listen, (protocol.reached_by, protocol.port)))


def _describe(
    protocol: Listener, control: Listener, key: str | None, *, authority: Authority | None, proxy: TunnelProxy | None
) -> Info:
    return Info(
        version=version("ilink"),
        api_url=protocol.url,
        cdn_url=f"{protocol.url}/c2c",
        control_url=control.url,
        phone_url=f"{control.url}/",
        control_key=key,
        pid=os.getpid(),
        authority=UNSET if authority is None else str(authority.certificate),
        proxy_url=UNSET if proxy is None else proxy.url,
    )
