// Asks the API, changes what may be changed, and listens for what has changed. Only ever to where the page came from.

export class Refusal extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(`api/v1/${path}`, { credentials: "same-origin", ...options });
  } catch {
    throw new Refusal(0, "The console does not answer. Is `tidegauge console` still running? This page tries again by itself.");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(response.status, body.error ?? `The console answered ${response.status}.`);
  return body;
}

export const get = (path, query = {}) => {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return ask(given.length ? `${path}?${new URLSearchParams(given)}` : path);
};

export const post = (path, body = {}) =>
  ask(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const remove = (path) => ask(path, { method: "DELETE" });

export const part = encodeURIComponent;

/** Calls `changed` with what has changed, and `state` with "live" (and the server's greeting) or "lost". A page that nobody looks
 *  at lets its connection go and takes it up again when it is looked at: a browser has six to one server, for all tabs together. */
export function listen(changed, state) {
  let source = null;
  const open = () => {
    if (source || document.hidden) return;
    const own = source = new EventSource("api/v1/events");
    own.addEventListener("hello", (event) => state("live", JSON.parse(event.data)));
    own.addEventListener("change", (event) => changed(JSON.parse(event.data)));
    own.addEventListener("error", () => {
      state("lost");
      if (own.readyState !== EventSource.CLOSED || source !== own) return;
      source = null;
      setTimeout(open, 5000);
    });
  };
  const close = () => {
    if (source) state("lost");
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", open);
  open();
}
