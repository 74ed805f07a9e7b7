/** A list of requests, as it stands on several pages. */

import { ago, make, webLink } from "./dom.js";

const COLUMNS = ["Request", "State", "Ticket", "Accepted", "Decision due"];

/** Show requests as a table, which becomes cards where there is no room. */
export function requestTable(requests) {
  return make(
    "table",
    { class: "cards requests" },
    make("thead", {}, make("tr", {}, COLUMNS.map((it) => make("th", { scope: "col" }, it)))),
    make("tbody", {}, requests.map(row)),
  );
}

function row(request) {
  const id = request.correlationId;
  return make(
    "tr",
    {},
    make(
      "th",
      { scope: "row" },
      make("a", { href: `#/requests/${id}`, id: `row-${id}` }, asked(request)),
      make("span", { class: "id" }, id),
      request.reason && make("p", { class: "reason" }, request.reason),
    ),
    make("td", { "data-label": "State" }, badge(request)),
    make("td", { "data-label": "Ticket" }, ticket(request)),
    make("td", { "data-label": "Accepted" }, ago(request.admittedAt)),
    make("td", { "data-label": "Decision due" }, request.decision ? "decided" : ago(request.deadlineAt)),
  );
}

/** Say who asks for what, as far as it is known. */
export function asked({ asked }) {
  if (!asked) return "What it asks for cannot be shown";
  const who = asked.identities?.join(", ") || asked.requester || "somebody";
  const verb = asked.verb[0].toUpperCase() + asked.verb.slice(1);
  return `${verb} ${who}${asked.resource ? ` → ${asked.resource}` : ""}`;
}

/** Show where a request stands, and what was decided or went wrong. */
export function badge({ status, decision, code }) {
  return [
    make("span", { class: `badge ${status}` }, status),
    (code || decision) && make("span", { class: "code" }, [decision, code].filter(Boolean).join(" · ")),
  ];
}

function ticket({ system, ticketKey, ticketUrl }) {
  if (!ticketKey) return make("span", { class: "none" }, system || "none");
  return [webLink(ticketUrl, ticketKey), make("span", { class: "code" }, system)];
}
