"""What a gateway takes up from its store when it opens: keys, seed, knobs and time."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ilink.gateway.clock import Clock
from ilink.gateway.events import EventStream
from ilink.gateway.holds import Waiting
from ilink.gateway.ids import IdSource
from ilink.gateway.knobs import Knobs
from ilink.gateway.peers import Peers
from ilink.gateway.settings import take_up_knobs
from ilink.gateway.state import GatewayState
from ilink.storage.gateway import GatewayStore

__all__ = ["open_state"]


async def open_state(
    store: GatewayStore,
    *,
    meta: Mapping[str, str],
    seed: int | None,
    knobs: Knobs,
    first_config: tuple[str, Mapping[str, object]],
    events: EventStream,
    peers: Peers,
    urls: tuple[str, str],
) -> GatewayState:
    """Return the shared state of a gateway whose store is open, and note in the store that it runs again.

    Args:
        store: The store.
        meta: What the store says of the gateway itself.
        seed: Where ids come from; None for the source that was used before, else an unpredictable one.
        knobs: Those of the arguments; they become the ones that were stored where the arguments say nothing else.
        first_config: The profile and the knobs that the arguments name.
        events: Where it is told what happens.
        peers: The other processes.
        urls: Where the API and the CDN are reached.
    """
    incarnation = await store.count_up("incarnation")
    stored = meta.get("seed")
    ids = IdSource(seed if seed is not None else int(stored) if stored else None, incarnation=incarnation)
    clock = Clock()
    clock.advance(float(meta.get("clock_ahead", "0")))
    take_up_knobs(knobs, meta, *first_config)
    state = GatewayState(
        store=store,
        clock=clock,
        ids=ids,
        knobs=knobs,
        events=events,
        waiting=Waiting(clock),
        peers=peers,
        cursor_key=await _cursor_key(store, meta, ids),
        api_url=urls[0],
        cdn_url=urls[1],
    )
    await store.put_meta(
        {
            "seed": "" if ids.seed is None else str(ids.seed),
            "profile": knobs.profile,
            "knobs": json.dumps(knobs.values),
        }
    )
    return state


async def _cursor_key(store: GatewayStore, meta: Mapping[str, str], ids: IdSource) -> bytes:
    """Return the key that all processes of this gateway share: the first that opens makes it."""
    if "cursor_key" not in meta:
        meta = await store.claim_meta({"cursor_key": ids.draw("cursor", 32).hex()})
    return bytes.fromhex(meta["cursor_key"])
