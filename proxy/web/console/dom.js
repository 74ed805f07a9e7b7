/** Elements made of values: whatever a value holds, it becomes text and never markup. */

/**
 * Make an element. Attributes that are functions listen to the event of their name; `true` sets an
 * attribute without a value, and what is null, undefined or false is left out, as among children.
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      element.addEventListener(name, value);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...children.flat(3).filter((it) => it !== null && it !== undefined && it !== false));
  return element;
}

/** Link to where a value points, if that is the web; anything else stays text. */
export function webLink(address, text) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return make("span", {}, text);
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    return make("span", {}, text);
  }
  const away = { href: url.href, target: "_blank", rel: "noopener noreferrer" };
  return make("a", away, text, make("span", { class: "unseen" }, " (opens in a new tab)"));
}

/** Replace what a region shows; the focus and what was folded open stay where they were. */
export function redraw(region, ...children) {
  const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...region.querySelectorAll("details[open][id]")].map((it) => it.id);
  region.replaceChildren(...children.flat(3).filter(Boolean));
  for (const id of open) {
    const details = document.getElementById(id);
    if (details) details.open = true;
  }
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const AGO = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "long" });
const UNITS = [["day", 86_400], ["hour", 3_600], ["minute", 60], ["second", 1]];

/** Say how long ago, or in how long, a moment is. */
function distance(moment) {
  const seconds = Math.round((moment - Date.now()) / 1_000);
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", 1];
  return AGO.format(Math.trunc(seconds / size), unit);
}

/** Show a moment (RFC 3339) in the reader's own time zone; the original is its title. */
export function time(moment) {
  return make("time", { datetime: moment, title: moment }, WHEN.format(new Date(moment)));
}

/** Show how far away a moment is; `tick` keeps it true. */
export function ago(moment) {
  return make("time", { datetime: moment, title: moment, class: "ago" }, distance(new Date(moment)));
}

/** Say again how far away all moments are. */
export function tick() {
  for (const it of document.querySelectorAll("time.ago")) {
    it.textContent = distance(new Date(it.dateTime));
  }
}

/** Say what time of day it is. */
export function clock(moment) {
  return CLOCK.format(moment);
}

/** Tell the operator that something was done; it goes away by itself. */
export function tell(text) {
  const message = make("p", { class: "message" }, text);
  document.getElementById("messages").append(message);
  setTimeout(() => message.remove(), 8_000);
}

/** Show why something was not done: each field that is named with what is wrong there. */
export function refusal(problem) {
  const said = problem.errors.length ? problem.errors : [problem.message];
  return make("div", { class: "refusal", role: "alert" }, said.map((it) => make("p", {}, it)));
}
