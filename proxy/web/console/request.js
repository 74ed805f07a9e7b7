/** One request: where it stands and why, what may be done, and all that is known of it. */

import { ofRequest, read } from "./api.js";
import { actOn } from "./dialogs.js";
import { ago, make, redraw, time, webLink } from "./dom.js";
import { showReceipt } from "./receipt.js";
import { asked, badge } from "./rows.js";
import { ACTIONS, EVENTS, may, STATES } from "./words.js";

/** Return the page of a request; `again` loads it anew. */
export function request(id, { again }) {
  return {
    title: `Request ${id}`,
    page: "requests",
    load: async () => {
      const [request, status] = await Promise.all([read(ofRequest(id)), read("status")]);
      return { request, operator: status.operator };
    },
    draw: (region, { request, operator }) => {
      redraw(
        region,
        make("p", { class: "crumb" }, make("a", { href: "#/requests" }, "Requests")),
        make("h1", {}, asked(request)),
        make("p", { class: "id" }, request.correlationId),
        standing(request, operator, again),
        make(
          "div",
          { class: "columns" },
          make(
            "div",
            {},
            card("What was asked for", fields(request.hookCall?.fields ?? {})),
            card("Decision", decision(request)),
          ),
          make("div", {}, card("Ticket", ticket(request)), card("witboost", caller(request))),
        ),
        card("What happened", history(request.history)),
      );
    },
  };
}

function standing(request, operator, again) {
  const { status, reason, whatToDo, nextAt, attempts, returnsTo, deadlineAt } = request;
  return make(
    "section",
    { class: `card standing ${status}`, "aria-label": "Where it stands" },
    make("p", { class: "state" }, badge(request), " ", STATES[status]),
    reason && make("p", { class: "reason" }, reason),
    whatToDo && make("p", { class: "advice" }, make("strong", {}, "What to do: "), whatToDo),
    facts({
      "Goes on": nextAt && [ago(nextAt), ", ", time(nextAt)],
      "Failures in a row": attempts || null,
      "Returns to": returnsTo,
      "Decision due": !request.decision && [ago(deadlineAt), ", ", time(deadlineAt)],
    }),
    buttons(request, operator, again),
  );
}

function buttons(request, operator, again) {
  if (!request.actions.length) return null;
  if (!may(operator, "operate")) {
    const what = request.actions.map((it) => ACTIONS[it].name.toLowerCase()).join(", ");
    return make(
      "p",
      { class: "hint" },
      `Your role is ${operator.role}: it may see this request. To act on it (${what}) takes the `
      + "role operate; ask whoever keeps operators.clients in the settings.",
    );
  }
  const aside = ["held", "dead"].includes(request.status); // then the first is what it waits for
  return make(
    "div",
    { class: "buttons start" },
    request.actions.map((action, place) => make(
      "button",
      {
        ...{ type: "button", id: `act-${action}` },
        class: ACTIONS[action].grave ? "quiet grave" : aside && place === 0 ? "primary" : "quiet",
        click: () => actOn(request, action, again),
      },
      `${ACTIONS[action].name} …`,
    )),
  );
}

function card(title, ...content) {
  return make("section", { class: "card" }, make("h2", {}, title), content);
}

/** Show what is known under its name; what is not known is left out. */
function facts(known) {
  const shown = Object.entries(known).filter(([, value]) => value || value === 0);
  return shown.length > 0 && make(
    "dl",
    {},
    shown.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
  );
}

function fields(given) {
  const texts = Object.entries(given).map(([name, value]) => [name, plain(value)]);
  return facts(Object.fromEntries(texts)) || make("p", { class: "calm" }, "Nothing.");
}

/** Return a value of free form as a person reads it. */
function plain(value) {
  if (typeof value === "string") return value || "(empty)";
  const list = Array.isArray(value) && value.every((it) => typeof it === "string");
  return list ? value.join(", ") : make("pre", {}, JSON.stringify(value, null, 2));
}

function ticket({ system, ticketKey, ticketId, ticketUrl, nativeStatus, sentAt, reads, missing }) {
  return facts({
    "Ticket system": system || "none: its route decides",
    "Key": ticketKey ? webLink(ticketUrl, ticketKey) : system && "none that we know of",
    "Id": ticketId !== ticketKey && ticketId,
    "Status there": nativeStatus,
    "Create sent": sentAt && time(sentAt),
    "Reads": reads || null,
    "Reads without finding it": missing || null,
  });
}

function decision(request) {
  if (!request.decision) return make("p", { class: "calm" }, "None yet.");
  const { decision, decidedBy, decidedAt, comment, evidence, fulfilment, fulfilBy, conflicts } = request;
  return [
    facts({
      "Decision": decision,
      "By": decidedBy,
      "At": decidedAt && time(decidedAt),
      "Comment": comment,
      "Evidence": evidence,
      "Fulfilment": fulfilment,
      "Fulfilment due": fulfilBy && time(fulfilBy),
      "Later decisions that differ": conflicts || null,
    }),
    make(
      "button",
      { type: "button", class: "quiet", id: "receipt", click: () => showReceipt(request.correlationId) },
      "Show the signed receipt",
    ),
  ];
}

function caller(request) {
  const { instance, client, requestId, hookCall, callback, callbacks, admittedAt, finishedAt } = request;
  return [
    facts({
      "Instance": instance,
      "Client": client,
      "Accepted": time(admittedAt),
      "Finished": finishedAt && time(finishedAt),
      "X-Request-ID": requestId,
      "Answer goes to": hookCall?.respondToUrl,
      "Callbacks that may have arrived": callbacks || null,
      "Route": request.route,
    }),
    callback && make(
      "details",
      { id: "callback" },
      make("summary", {}, "What witboost gets"),
      make("pre", {}, JSON.stringify(callback, null, 2)),
    ),
  ];
}

function history(lines) {
  return make("ol", { class: "history" }, lines.map(({ at, event, state, ...more }) =>
    make(
      "li",
      { class: state },
      make("div", { class: "when" }, time(at)),
      make(
        "div",
        {},
        make("strong", { title: event }, EVENTS[event] ?? event),
        make("span", { class: `badge ${state}` }, state),
        facts(Object.fromEntries(Object.entries(more).map(([name, value]) => [spelled(name), told(value)]))),
      ),
    )));
}

/** Return a name of the API as words: `native_status` is "Native status". */
function spelled(name) {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

/** Return a value of a history: a ticket is told by its parts. */
function told(value) {
  if (value === null || typeof value !== "object") return String(value);
  return Object.values(value).filter((it) => typeof it === "string" && it).join(" · ");
}
