"""`ilink run`: the bot in a Python file."""

from __future__ import annotations

import logging
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from ilink.bot import Bot
from ilink.bot.running import loading_bots
from ilink.cli.words import say
from ilink.errors import ConfigError
from ilink.fleet.roles import ROLE_VARIABLE, place_among_several, read_roles
from ilink.gateway.listeners import parse_address
from ilink.storage.postgres_url import DATABASE_URL_VARIABLE, is_postgres_url
from ilink.storage.roles import Role
from ilink.storage.slots_counted import LeaseTally

__all__ = ["find_bot", "run", "split_place"]


def run(
    file: Annotated[str, Parameter(help=say("run.file"))],
    *,
    workers: Annotated[int | None, Parameter(help=say("run.workers"), validator=validators.Number(gte=1))] = None,
    database_url: Annotated[str | None, Parameter(help=say("run.database_url"), env_var=DATABASE_URL_VARIABLE)] = None,
    lease: Annotated[float, Parameter(help=say("run.lease"), validator=validators.Number(gte=1))] = 30.0,
    peers: Annotated[int | None, Parameter(help=say("run.peers"), validator=validators.Number(gte=1))] = None,
    role: Annotated[list[str] | None, Parameter(help=say("run.role"), env_var=ROLE_VARIABLE, negative="")] = None,
    metrics_listen: Annotated[
        str | None, Parameter(help=say("run.metrics_listen"), env_var="ILINK_METRICS_LISTEN")
    ] = None,
    log_json: Annotated[bool, Parameter(negative="", show_default=False, help=say("run.log_json"))] = False,
    verbose: Annotated[
        bool, Parameter(name=["--verbose", "-v"], negative="", show_default=False, help=say("run.verbose"))
    ] = False,
) -> int:
    """Run a bot until Ctrl-C."""
    _start_logs(is_verbose=verbose, is_json=log_json)
    if database_url is not None:
        if not is_postgres_url(database_url):
            raise ConfigError(say("database_url.unknown"))
        # Read by the bot that the file makes, and by the processes that are started from here.
        os.environ[DATABASE_URL_VARIABLE] = database_url
    bot = find_bot(file)
    roles = read_roles(role or ())
    is_alone = workers is None and roles == (Role.ALL,)
    tally = LeaseTally()
    if metrics_listen is not None and (place_among_several() is not None or (workers or 1) * len(roles) == 1):
        # Loaded late: it brings a web server, which most runs do not need.
        from ilink.telemetry.page import serve_page

        polls = any(one.polls for one in roles)
        serve_page(bot, _own_address(metrics_listen), leases=None if is_alone else tally, polls=polls)
    if is_alone:
        bot.run()
        return 0
    if database_url is None:
        raise ConfigError(say("run.no_database"))
    # Loaded late: most bots run in one process, and need no database driver.
    from ilink.cli.workers import run_workers

    arguments = ["run", file, "--workers", "1", "--lease", f"{lease:g}"]
    arguments += [argument for part in roles for argument in ("--role", part.value)]
    arguments += ["--verbose"] if verbose else []
    arguments += ["--log-json"] if log_json else []
    arguments += ["--metrics-listen", metrics_listen] if metrics_listen is not None else []
    count = workers or 1
    return run_workers(bot, arguments, count=count, lease=lease, peers=max(peers or 1, count), roles=roles, tally=tally)


def _start_logs(*, is_verbose: bool, is_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    if is_json:
        from ilink.telemetry.logs import JsonLines

        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if is_verbose else logging.INFO, handlers=[handler])


def _own_address(address: str) -> str:
    """Return where this process listens: each of several on a port of its own, counted from the one that was given."""
    host, port = parse_address(address)
    place = (place_among_several() or 0) if port else 0
    return f"[{host}]:{port + place}" if ":" in host else f"{host}:{port + place}"


def find_bot(place: str) -> Bot:
    """Load a file and return the bot in it; `bot.py:shop` names one of several.

    The file's folder is put where imports are looked for, as Python itself does. A `bot.run()` in the file says which
    bot is meant, and does not run it.

    Raises:
        ConfigError: There is no such file, it cannot be loaded, or it holds no bot or several.
    """
    path, wanted = split_place(place)
    if not path.is_file():
        raise ConfigError(say("run.no_file", path=path))
    with loading_bots() as started:
        values = _load(path)
    if wanted:
        chosen = values.get(wanted)
        if not isinstance(chosen, Bot):
            raise ConfigError(say("run.not_a_bot", name=wanted, path=path, kind=type(chosen).__name__))
        return chosen
    if len(started) == 1:
        return started[0]
    bots = {key: value for key, value in values.items() if isinstance(value, Bot)}
    if not bots:
        raise ConfigError(say("run.no_bot", path=path))
    if len({id(bot) for bot in bots.values()}) > 1:
        raise ConfigError(say("run.several", path=path, names=", ".join(bots), first=next(iter(bots))))
    return next(iter(bots.values()))


def split_place(place: str) -> tuple[Path, str]:
    """Return the file and the bot's name of `bot.py:shop`; the name is empty when there is none."""
    name, _, wanted = place.partition(":") if not Path(place).exists() else (place, "", "")
    return Path(name), wanted


def _load(path: Path) -> dict[str, object]:
    sys.path.insert(0, str(path.resolve().parent))
    try:
        return runpy.run_path(str(path), run_name="ilink_bot")
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else (lines[-1] if lines else "?")
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(say("run.failed", path=path, line=line, why=why)) from error
