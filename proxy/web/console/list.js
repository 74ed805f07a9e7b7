/** Requests, newest first, by what they are in common; and what may be done to all of those. */

import { read } from "./api.js";
import { actOnMany } from "./dialogs.js";
import { make, redraw } from "./dom.js";
import { requestTable } from "./rows.js";
import { ASIDE, may, OPEN, STATES } from "./words.js";

const CHOICES = { "": "All", [ASIDE]: "Needs a person", [OPEN]: "Open" };
const FIELDS = {
  system: "Ticket system",
  instance: "witboost instance",
  code: "Reason code",
  ticket: "Ticket",
};
const NAMED = ["system", "instance"]; // in the settings

/** Return the page of what a query names; `go` leads to another one. */
export function list(query, { go, again }) {
  const filter = Object.fromEntries(
    ["state", ...Object.keys(FIELDS)].map((name) => [name, query.get(name)]).filter(([, it]) => it),
  );
  return {
    title: "Requests",
    page: "requests",
    load: async () => {
      const before = query.get("before");
      const [page, status] = await Promise.all([
        read("requests", { ...filter, before, details: "true" }),
        read("status"),
      ]);
      return { ...page, operator: status.operator, destinations: status.destinations };
    },
    draw: (region, page) => {
      const results = region.querySelector("#results");
      if (results) {
        fill(region.querySelector("form.filter"), filter);
        redraw(results, found(page, filter, query, again));
        return;
      }
      redraw(
        region,
        make("h1", {}, "Requests"),
        filterForm(filter, page.destinations, go),
        make("div", { id: "results" }, found(page, filter, query, again)),
      );
    },
  };
}

function filterForm(filter, destinations, go) {
  const asking = (event) => {
    event.preventDefault();
    const given = [...new FormData(event.currentTarget)].filter(([, value]) => value.trim());
    go(`#/requests?${new URLSearchParams(given)}`);
  };
  const states = { ...CHOICES, ...Object.fromEntries(Object.keys(STATES).map((it) => [it, it])) };
  const chosen = filter.state ?? "";
  if (!(chosen in states)) states[chosen] = chosen;
  return make(
    "form",
    { class: "filter", change: asking, submit: asking },
    make("div", {}, make("label", { for: "state" }, "State"), make(
      "select",
      { id: "state", name: "state" },
      Object.entries(states).map(([value, name]) =>
        make("option", { value, selected: value === chosen }, name)),
    )),
    Object.entries(FIELDS).map(([name, label]) =>
      make("div", {}, make("label", { for: name }, label), make("input", {
        ...{ id: name, name, value: filter[name], list: NAMED.includes(name) && "destinations" },
        autocomplete: "off",
      }))),
    make("datalist", { id: "destinations" }, destinations.map((value) => make("option", { value }))),
    make("button", { type: "submit", class: "quiet" }, "Filter"),
  );
}

/** Show the filter of now, but where somebody is typing. */
function fill(form, filter) {
  for (const it of form.querySelectorAll("[name]")) {
    if (it !== document.activeElement) it.value = filter[it.name] ?? "";
  }
}

function found({ requests, next, operator }, filter, query, again) {
  const older = new URLSearchParams(query);
  older.set("before", next);
  return [
    filter.state && !filter.ticket && may(operator, "operate") && bulk(filter, again),
    requests.length
      ? requestTable(requests)
      : make("p", { class: "calm" }, next ? "None on this page; look at older ones." : "No request matches."),
    make(
      "nav",
      { class: "paging", "aria-label": "Paging" },
      query.has("before") && make("a", { href: `#/requests?${new URLSearchParams(filter)}` }, "← Newest"),
      next && make("a", { href: `#/requests?${older}`, rel: "next" }, "Older →"),
    ),
  ];
}

function bulk(filter, again) {
  const button = (action, text) => make(
    "button",
    {
      ...{ type: "button", class: "quiet", id: `bulk-${action}` },
      click: () => actOnMany(action, filter, again),
    },
    text,
  );
  return make(
    "div",
    { class: "buttons start" },
    button("retry", "Retry all of these …"),
    button("cancel", "Cancel all of these …"),
  );
}
