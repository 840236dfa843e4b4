// Which page is shown, and when it is drawn again.

import { get, listen, post, remove, Refusal } from "./api.js";
import { h, replace } from "./dom.js";
import { drawCharts, redrawCharts } from "./charts.js";
import * as alert from "./pages/alert.js";
import * as alerts from "./pages/alerts.js";
import * as incident from "./pages/incident.js";
import * as incidents from "./pages/incidents.js";
import * as model from "./pages/model.js";
import * as models from "./pages/models.js";
import * as silences from "./pages/silences.js";
import * as stream from "./pages/stream.js";

const ROUTES = [
  [/^\/$/, models],
  [/^\/models\/([^/]+)$/, model],
  [/^\/alerts$/, alerts],
  [/^\/alerts\/([^/]+)$/, alert],
  [/^\/incidents$/, incidents],
  [/^\/incidents\/([^/]+)$/, incident],
  [/^\/silences$/, silences],
  [/^\/stream$/, stream],
];
const REFRESH = 2000;
const main = document.getElementById("main");
let drawing = 0;
let waiting = false;
let drawn = 0;

/** {path: "/models/a", query: URLSearchParams} of the address. */
function place() {
  const [path, query = ""] = decodeHash().split("?");
  return { path: path || "/", query: new URLSearchParams(query) };
}

const decodeHash = () => window.location.hash.replace(/^#/, "");

function found() {
  const { path, query } = place();
  for (const [pattern, page] of ROUTES) {
    const match = pattern.exec(path);
    if (match) return { page, names: match.slice(1).map(decodeURIComponent), query, path };
  }
  return null;
}

async function draw({ fresh = false } = {}) {
  const mine = ++drawing;
  waiting = false;
  const route = found();
  if (fresh) window.scrollTo(0, 0);
  main.setAttribute("aria-busy", "true");
  let nodes;
  try {
    if (!route) throw new Refusal(404, "There is no such page. Choose one above.");
    document.title = `${route.page.title(...route.names)} · tidegauge`;
    nodes = await route.page.draw({ names: route.names, query: route.query, go, again: () => draw() });
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) return signIn();
    if (!(error instanceof Refusal)) console.error(error);
    nodes = trouble(error);
    setTimeout(soon, 5000);
  }
  if (mine !== drawing) return;
  main.removeAttribute("aria-busy");
  drawn = Date.now();
  replace(main, nodes);
  drawCharts(main);
  for (const link of document.querySelectorAll("#pages a")) {
    const target = link.getAttribute("href").slice(1);
    const here = target === "/" ? /^\/($|models)/.test(route?.path ?? "") : (route?.path ?? "").startsWith(target);
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (fresh) main.focus({ preventScroll: true });
}

function trouble(error) {
  return h("section", { class: "trouble", role: "alert" }, h("h1", {}, "This cannot be shown"), h("p", {}, error.message),
    h("p", {}, h("a", { href: "#/" }, "All models"), " · ", h("button", { type: "button", onclick: () => draw() }, "Try again")));
}

/** Change the address's query (deep link) and draw. */
function go(changes) {
  const { path, query } = place();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(name);
    else query.set(name, value);
  }
  const text = query.toString();
  window.history.replaceState(null, "", `#${path}${text ? `?${text}` : ""}`);
  draw();
}

/** Draw again soon, but not while somebody is choosing or typing. */
function soon() {
  if (waiting) return;
  waiting = true;
  const wait = Math.max(REFRESH - (Date.now() - drawn), 0);
  setTimeout(function attempt() {
    if (!waiting) return;
    const active = document.activeElement?.tagName;
    if (["SELECT", "INPUT", "TEXTAREA"].includes(active) || document.hidden) setTimeout(attempt, 1000);
    else draw();
  }, wait);
}

async function countFiring() {
  const badge = document.getElementById("firing");
  const { total } = await get("alerts", { status: "firing", limit: 0 });
  badge.textContent = total;
  badge.hidden = !total;
  badge.title = `${total} firing`;
}

function signIn(text = "") {
  const field = h("input", { type: "password", id: "token", name: "token", autocomplete: "current-password", required: true });
  const form = h("form", {
    class: "sign-in",
    onsubmit: async (event) => {
      event.preventDefault();
      try {
        await post("session", { token: field.value });
        start();
      } catch (error) {
        signIn(error.message);
      }
    },
  }, h("h1", {}, "Sign in"), text ? h("p", { role: "alert", class: "trouble" }, text) : null,
  h("input", { type: "text", name: "username", autocomplete: "username", value: "tidegauge", hidden: true }), h("label", { for: "token" }, "Token"), field, h("button", { type: "submit" }, "Sign in"),
  h("p", { class: "dim" }, "The token is in the file that ", h("code", {}, "--token-file"), " names, where the console runs."));
  document.title = "Sign in · tidegauge";
  main.removeAttribute("aria-busy");
  replace(main, form);
  field.focus();
}

function theme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    root.dataset.theme = localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light");
    button.textContent = root.dataset.theme === "dark" ? "☀ Light" : "☾ Dark";
    redrawCharts();
  };
  button.addEventListener("click", () => {
    localStorage.setItem("theme", root.dataset.theme === "dark" ? "light" : "dark");
    show();
  });
  dark.addEventListener("change", show);
  show();
}

let listening = false;

async function start() {
  const session = await get("session").catch(() => null);
  if (session && !session.signed_in) return signIn(session.login ? "" : "Your reverse proxy did not say who you are.");
  const out = document.getElementById("sign-out");
  out.hidden = session?.method !== "session";
  follow();
  await draw();
  await countFiring().catch(() => {});
}

/** Listens before the first page is drawn, so that nothing is missed in between; what a lost connection missed is asked for anew. */
function follow() {
  if (listening) return;
  listening = true;
  const live = document.getElementById("live");
  let lost = false;
  listen((change) => {
    const route = found();
    reading(change);
    if (route?.page.concerns(change, route.names)) soon();
    if (change.alerts) countFiring().catch(() => {});
  }, (state, greeting) => {
    if (greeting) reading(greeting);
    live.textContent = state === "live" ? "● live" : "○ not live";
    live.className = `live ${state}`;
    live.title = state === "live" ? "Updates come as they happen" : "The connection is lost; trying again";
    if (state === "live" && lost) {
      soon();
      countFiring().catch(() => {});
    }
    lost = state !== "live";
  });
}

/** How much of what is older has been read since the console started. */
function reading({ read }) {
  const said = document.getElementById("reading");
  said.hidden = read >= 1;
  said.textContent = `Reading older records: ${Math.floor(read * 100)} %`;
}

document.getElementById("sign-out").addEventListener("click", async () => {
  await remove("session").catch(() => {});
  window.location.reload();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => draw({ fresh: true }));
theme();
start();
