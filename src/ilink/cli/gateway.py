"""`ilink gateway`: the server as a program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from msgspec import UNSET

from ilink.cli.output import errors
from ilink.cli.words import say
from ilink.gateway.server import GatewayServer, ServerOptions, run
from ilink.storage.postgres_url import DATABASE_URL_VARIABLE

__all__ = ["gateway"]

_KEY_VARIABLE = "ILINK_CONTROL_KEY"
_MEDIA_VARIABLE = "ILINK_MEDIA_URL"
_HINTS_VARIABLE = "ILINK_HINTS_URL"


def gateway(
    *,
    listen: Annotated[str, Parameter(help=say("gateway.listen"))] = "127.0.0.1:7710",
    control_listen: Annotated[str, Parameter(help=say("gateway.control_listen"))] = "127.0.0.1:7711",
    control_key: Annotated[str | None, Parameter(help=say("gateway.control_key"), env_var=_KEY_VARIABLE)] = None,
    data: Annotated[Path | None, Parameter(help=say("gateway.data"))] = None,
    media_url: Annotated[str | None, Parameter(help=say("gateway.media_url"), env_var=_MEDIA_VARIABLE)] = None,
    database_url: Annotated[
        str | None, Parameter(help=say("gateway.database_url"), env_var=DATABASE_URL_VARIABLE)
    ] = None,
    hints_url: Annotated[str | None, Parameter(help=say("gateway.hints_url"), env_var=_HINTS_VARIABLE)] = None,
    drain: Annotated[float, Parameter(help=say("gateway.drain"))] = 0.0,
    profile: Annotated[str, Parameter(help=say("gateway.profile"))] = "observed",
    seed: Annotated[int | None, Parameter(help=say("gateway.seed"))] = None,
    ready_json: Annotated[bool, Parameter(negative="", show_default=False, help=say("gateway.ready_json"))] = False,
    tls: Annotated[bool, Parameter(negative="", show_default=False, help=say("gateway.tls"))] = False,
    vendor_urls: Annotated[bool, Parameter(negative="", show_default=False, help=say("gateway.vendor_urls"))] = False,
    proxy_listen: Annotated[str | None, Parameter(help=say("gateway.proxy_listen"))] = None,
) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    options = ServerOptions(
        listen=listen,
        control_listen=control_listen,
        control_key=control_key,
        data=data,
        media_url=media_url,
        database_url=database_url,
        hints_url=hints_url,
        drain=drain,
        profile=profile,
        seed=seed,
        ready_json=ready_json,
        tls=tls,
        vendor_urls=vendor_urls,
        proxy_listen=proxy_listen,
    )
    return run(options, announce=None if ready_json else announce)


def announce(server: GatewayServer) -> None:
    """Print where the gateway is, on standard error."""
    console = errors()
    console.print(f"[bold green]{say('gateway.ready')}[/]")
    console.print(say("gateway.phone", url=server.login_url), markup=False)
    console.print(say("gateway.api", url=server.info.api_url), markup=False)
    console.print(say("gateway.control", url=server.info.control_url), markup=False)
    if server.info.authority is not UNSET:
        console.print(say("gateway.authority", path=server.info.authority), markup=False)
    if server.info.proxy_url is not UNSET:
        console.print(say("gateway.proxy", url=server.info.proxy_url), markup=False)
    console.print(say("gateway.use", url=server.info.api_url), style="dim", markup=False)
