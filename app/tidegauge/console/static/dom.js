// Elements from data. Text is always set as text, so nothing that a topic holds can become markup.

const SVG = new Set(["svg", "path", "circle", "rect", "title"]);

/** h("td", {class: "number", onclick: f}, "text", node, [more], null) */
export function h(name, attributes = {}, ...children) {
  const element = SVG.has(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** A sentence whose names stand between backticks, as nodes. */
export const sentence = (text) => text.split("`").map((part, place) => (place % 2 ? h("code", {}, part) : part));

/** HTML that the server has rendered from its own playbooks, as nodes: no scripts, no styles, no handlers survive. */
export function rendered(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  for (const element of [...parsed.body.querySelectorAll("*")]) {
    if (["SCRIPT", "STYLE", "IFRAME", "OBJECT", "LINK", "IMG"].includes(element.tagName)) element.remove();
    for (const { name } of [...element.attributes]) {
      if (name !== "href" || !/^(https?:|#|[a-z0-9-]+\.md)/.test(element.getAttribute("href"))) element.removeAttribute(name);
    }
  }
  return [...parsed.body.childNodes].map((node) => document.adoptNode(node));
}

/** Replace what is in `host`; what was open, focused and scrolled to stays so. */
export function replace(host, nodes) {
  const opened = new Map([...host.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
  const focused = host !== document.activeElement && host.contains(document.activeElement) ? wayTo(document.activeElement) : null;
  const scrolled = new Map([...host.querySelectorAll("[data-scroll]")].map((one) => [one.dataset.scroll, [one.scrollLeft, one.scrollTop]]));
  const top = window.scrollY;
  host.replaceChildren(...[nodes].flat(Infinity).filter(Boolean));
  for (const details of host.querySelectorAll("details[id]")) {
    if (opened.has(details.id)) details.open = opened.get(details.id);
  }
  for (const one of host.querySelectorAll("[data-scroll]")) [one.scrollLeft, one.scrollTop] = scrolled.get(one.dataset.scroll) ?? [0, 0];
  focused?.()?.focus({ preventScroll: true });
  window.scrollTo(window.scrollX, top);
}

/** Finds the element in the same place after a redraw: from the nearest one with an id, child by child. */
function wayTo(element) {
  const steps = [];
  let one = element;
  for (; !one.id; one = one.parentElement) steps.unshift([...one.parentElement.children].indexOf(one));
  const { id } = one;
  return () => steps.reduce((found, step) => found?.children[step], document.getElementById(id));
}
