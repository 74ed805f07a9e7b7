/** The first page: how many requests are where, what is paused, and what needs a person. */

import { read } from "./api.js";
import { pausing } from "./dialogs.js";
import { ago, make, redraw } from "./dom.js";
import { requestTable } from "./rows.js";
import { ASIDE, CAUSES, counted, may, STATES } from "./words.js";

const NEWEST = 5; // requests that need a person

/** Return the page; `again` loads it anew. */
export function overview({ again }) {
  return {
    title: "Overview",
    page: "overview",
    load: async () => {
      const [status, { alarms }, aside] = await Promise.all([
        read("status"),
        read("alarms"),
        read("requests", { state: ASIDE, details: "true", limit: String(NEWEST) }),
      ]);
      return { status, alarms, aside: aside.requests, operator: status.operator };
    },
    draw: (region, { status, alarms, aside }) => {
      redraw(
        region,
        make("h1", {}, "Overview"),
        make("section", { "aria-label": "Requests by state" }, tiles(status)),
        downSection(status.down),
        asideSection(status, aside),
        destinationSection(status, again),
        alarmSection(alarms),
      );
    },
  };
}

function tiles({ requests }) {
  return make(
    "ul",
    { class: "tiles" },
    Object.entries(STATES).map(([state, means]) =>
      make(
        "li",
        {},
        make(
          "a",
          {
            ...{ id: `tile-${state}`, href: `#/requests?state=${state}` },
            class: `tile ${state}${requests[state] ? "" : " none"}`,
          },
          make("span", { class: "number" }, requests[state].toLocaleString()),
          make("span", { class: "name" }, state),
          make("span", { class: "means" }, means),
        ),
      )),
  );
}

function downSection(down) {
  return down.length > 0 && make(
    "section",
    { class: "card trouble" },
    make("h2", {}, "Worker processes that are down"),
    make("ul", {}, down.map((it) => make("li", {}, it.reason))),
  );
}

function asideSection({ requests }, aside) {
  const total = requests.held + requests.dead;
  return make(
    "section",
    { class: "card" },
    make("h2", {}, "Needs a person"),
    aside.length ? requestTable(aside) : make("p", { class: "calm" }, "Nothing: no request is held or dead."),
    total > aside.length && make(
      "p",
      {},
      make("a", { href: `#/requests?state=${ASIDE}` }, `All ${counted(total)} that need a person`),
    ),
  );
}

function destinationSection(status, again) {
  const columns = ["Name", "State", "Open requests"];
  return make(
    "section",
    { class: "card" },
    make("h2", {}, "Ticket systems and witboost instances"),
    make(
      "table",
      { class: "cards" },
      make("thead", {}, make("tr", {}, columns.map((it) => make("th", { scope: "col" }, it)), make("td"))),
      make("tbody", {}, status.destinations.map((name) => destination(name, status, again))),
    ),
    !may(status.operator, "admin") && make("p", { class: "hint" }, "The role admin may pause and resume them."),
  );
}

function destination(name, { operator, open, paused }, again) {
  const pause = paused.find((it) => it.destination === name);
  const count = open
    .filter((it) => it.system === name || it.instance === name)
    .reduce((sum, it) => sum + it.requests, 0);
  const button = may(operator, "admin") && make(
    "button",
    {
      ...{ type: "button", id: `pause-${name}`, class: "quiet" },
      click: () => pausing(name, Boolean(pause), again),
      "aria-label": `${pause ? "Resume" : "Pause"} ${name}`,
    },
    pause ? "Resume" : "Pause",
  );
  return make(
    "tr",
    {},
    make("th", { scope: "row" }, name),
    make("td", { "data-label": "State" }, pause ? pausedCell(pause) : make("span", { class: "badge good" }, "in use")),
    make("td", { "data-label": "Open requests" }, count.toLocaleString()),
    button && make("td", { class: "act" }, button),
  );
}

function pausedCell({ cause, since, reason }) {
  return [
    make("span", { class: "badge held" }, "paused"),
    make("strong", {}, ` ${CAUSES[cause] ?? cause}`),
    " since ",
    ago(since),
    make("p", { class: "reason" }, reason),
  ];
}

/** Of an alarm, the message says what happened and what to do. */
function alarmSection(alarms) {
  return make(
    "section",
    { class: "card" },
    make("h2", {}, "Alarms of the last seven days"),
    alarms.length
      ? make("ul", { class: "alarms" }, alarms.map(alarm))
      : make("p", { class: "calm" }, "None."),
  );
}

function alarm({ alarm, at, message, destination, correlationId }) {
  return make(
    "li",
    {},
    make("div", { class: "when" }, ago(at)),
    make(
      "div",
      {},
      make("span", { class: "badge" }, alarm),
      destination && make("span", { class: "code" }, destination),
      make("p", { class: "reason" }, message),
      correlationId && make("a", { href: `#/requests/${correlationId}`, class: "id" }, correlationId),
    ),
  );
}
