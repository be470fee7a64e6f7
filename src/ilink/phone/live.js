/** What happens on the gateway, as it happens. */

const EVENT_KINDS = ["message", "typing", "qr", "bot", "wire", "fault", "clock", "person", "read", "reset", "notice", "config"];

/** Milliseconds until a gateway that refused the connection is asked again. */
const RETRY = 2000;

/**
 * Listen to the gateway's events until the page goes.
 *
 * The browser reconnects by itself and names the last event it saw, so short cuts lose nothing. `onOpen` runs at each
 * connection all the same: a gateway that was started anew has no memory of the old one's events.
 */
export function listen({ onOpen, onLost, onEvent }) {
  const source = new EventSource("/_sim/events");
  let retry = null;
  source.addEventListener("open", onOpen);
  source.addEventListener("error", () => {
    onLost();
    // After an HTTP error the browser gives up for good; a gateway that comes back is worth asking again.
    if (source.readyState !== EventSource.CLOSED || retry !== null) return;
    retry = setTimeout(() => listen({ onOpen, onLost, onEvent }), RETRY);
  });
  for (const kind of EVENT_KINDS) {
    source.addEventListener(kind, (event) => {
      // An error event of the connection itself carries no data; ours always do.
      if (typeof event.data === "string") onEvent(kind, JSON.parse(event.data));
    });
  }
}
