/** What happens on the gateway, as it happens. */

const EVENT_KINDS = ["message", "typing", "qr", "bot", "wire", "fault", "clock", "person", "read", "reset", "notice", "config"];

/** Milliseconds until a gateway that refused the connection is asked again. */
const RETRY = 2000;

/**
 * So many tabs go on listening while nobody sees them, and count what is unread. A browser has six connections for all
 * the tabs of one address, and each listener takes one: with more of them a further tab would never load.
 */
const KEEPERS = 3;

/**
 * Listen to the gateway's events until the page goes, or is hidden among many others; then it listens again once it is
 * seen.
 *
 * The browser reconnects by itself and names the last event it saw, so short cuts lose nothing. `onOpen` runs at each
 * connection all the same: a gateway that was started anew has no memory of the old one's events.
 */
export function listen({ onOpen, onLost, onEvent }) {
  let source = null;
  let isKeeper = false;
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    if (source || (document.hidden && !isKeeper)) return;
    source = new EventSource("/_sim/events");
    source.addEventListener("open", onOpen);
    source.addEventListener("error", () => {
      onLost();
      // After an HTTP error the browser gives up for good; a gateway that comes back is worth asking again.
      if (source?.readyState !== EventSource.CLOSED) return;
      close();
      setTimeout(open, RETRY);
    });
    for (const kind of EVENT_KINDS) {
      source.addEventListener(kind, (event) => {
        // An error event of the connection itself carries no data; ours always do.
        if (typeof event.data === "string") onEvent(kind, JSON.parse(event.data));
      });
    }
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) open();
    else if (!isKeeper) close();
  });
  open();
  becomeKeeper().then((isOne) => {
    isKeeper = isOne;
    open();
  });
}

/** Take one of the places of those that listen unseen, for as long as the page lives; tells whether one was free. */
async function becomeKeeper() {
  for (let place = 0; place < KEEPERS; place++) if (await takeLock(`ilink.listener.${place}`)) return true;
  return false;
}

function takeLock(name) {
  return new Promise((resolve) => {
    const hold = (lock) => {
      resolve(lock !== null);
      return lock && new Promise(() => {});
    };
    // Beyond this machine and without HTTPS browsers offer no locks; there a hidden page just stops listening.
    if (navigator.locks) navigator.locks.request(name, { ifAvailable: true }, hold);
    else resolve(false);
  });
}
