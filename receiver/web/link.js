// The way to the receiver: the token for a cookie, then a WebSocket, again and again.

import { Timeline } from "./timeline.js";

const SILENCE_MS = 5000;
const MAX_WAIT_MS = 500;
const HEADER_BYTES = 17;
const PAUSES_MS = { none: 1000, wait: 15000, full: 5000 };

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Returns "open" where the receiver took the token, "wrong", "wait" (a minute) or "none" (it does not answer).
 */
export async function signIn(token) {
  try {
    const answer = await fetch("login", { method: "POST", body: token, credentials: "same-origin" });
    if (answer.ok) return "open";
    return answer.status === 429 ? "wait" : "wrong";
  } catch {
    return "none";
  }
}

async function access() {
  try {
    const answer = await fetch("session", { cache: "no-store", signal: AbortSignal.timeout(SILENCE_MS) });
    return (await answer.json()).access;
  } catch {
    return "none";
  }
}

/**
 * Watches for ever. `handlers.access(word)` is called with how the receiver stands to this page: open, none, wait,
 * full; `handlers.token()` returns a promise that is kept once the browser may have the cookie.
 * `handlers.linked(say, timeline)` is given what sends a word to the receiver, and nulls once the connection has
 * ended. `handlers.figures(object)`, `await handlers.picture(blob)`, `await handlers.own(blob)` and
 * `handlers.sound(at, bytes)` take what comes; pictures wait for `handlers.delay()` ms after their moment.
 */
export async function watch(handlers) {
  for (;;) {
    const word = await access();
    handlers.access(word);
    if (word === "open") await session(handlers);
    else if (word === "token") await handlers.token();
    else await sleep(PAUSES_MS[word] ?? PAUSES_MS.none);
  }
}

/** One connection, from its opening to its end. */
function session(handlers) {
  return new Promise((ended) => {
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/live`);
    socket.binaryType = "arraybuffer";
    const timeline = new Timeline();
    let heard = performance.now();
    let showing = Promise.resolve();
    const end = () => {
      clearInterval(watchdog);
      document.removeEventListener("visibilitychange", catchUp);
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      handlers.linked(null, null);
      ended();
    };
    // A network that has gone says nothing, and closing takes it long.
    const watchdog = setInterval(() => performance.now() - heard > SILENCE_MS && end(), 1000);

    // A picture that nobody sees is not answered, and the receiver makes no more of them.
    let unseen = [];
    const moment = (at) => {
      const wait = timeline.here(at) + handlers.delay() - performance.now();
      return handlers.delay() && wait > 1 ? sleep(Math.min(wait, MAX_WAIT_MS)) : null;
    };
    const show = ({ kind, at, data }) => {
      const blob = new Blob([data], { type: "image/jpeg" });
      if (kind === "S") return handlers.own(blob).catch(() => {}).then(() => answer("s"));
      showing = showing
        .then(() => moment(at))
        .then(() => handlers.picture(blob))
        .catch(() => {})
        .then(() => answer("p"));
    };
    // A kind, its moment, when it left (see `receiver.sinks.page`), and what it is.
    const take = (message) => {
      const view = new DataView(message);
      const kind = String.fromCharCode(view.getUint8(0));
      const [at, data] = [view.getFloat64(1), message.slice(HEADER_BYTES)];
      timeline.came(view.getFloat64(9));
      if (kind === "A") handlers.sound(at, data);
      else if (document.hidden) unseen.push({ kind, at, data });
      else show({ kind, at, data });
    };
    const answer = (letter) => socket.readyState === WebSocket.OPEN && socket.send(letter);
    const catchUp = () => {
      if (!document.hidden) unseen.splice(0).forEach(show);
    };
    document.addEventListener("visibilitychange", catchUp);

    socket.onmessage = ({ data }) => {
      heard = performance.now();
      if (typeof data === "string") {
        handlers.figures(JSON.parse(data));
        answer("f");
      } else take(data);
    };
    socket.onopen = () => handlers.linked(answer, timeline);
    socket.onclose = end;
  });
}
