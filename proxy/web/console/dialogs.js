/** What an operator confirms: each with a reason, and with what was refused next to where it is. */

import { act, ofRequest } from "./api.js";
import { make, refusal, tell } from "./dom.js";
import { ACTIONS, counted } from "./words.js";

const LONGEST = 500; // characters of a text, as the API has it

/**
 * Ask for what `fields` (elements of a form) hold and do it; the dialog stays open while it is
 * refused. `about` says what it is for; `submit` is what the button says, and `grave` how it looks.
 */
export function confirmed({ title, about, fields = [], submit, grave = false, does }) {
  const trouble = make("div");
  const button = make("button", { type: "submit", class: grave ? "grave" : "primary" }, submit);
  const dialog = make(
    "dialog",
    { "aria-labelledby": "dialog-title", close: () => dialog.remove() },
    make(
      "form",
      {
        submit: async (event) => {
          event.preventDefault();
          button.disabled = true;
          trouble.replaceChildren();
          try {
            await does(dialog, Object.fromEntries(new FormData(event.target)));
          } catch (problem) {
            trouble.replaceChildren(refusal(problem));
            point(dialog, problem);
          } finally {
            button.disabled = false;
          }
        },
      },
      make("h2", { id: "dialog-title" }, title),
      about,
      fields,
      trouble,
      make(
        "div",
        { class: "buttons" },
        make("button", { type: "button", class: "quiet", click: () => dialog.close() }, "Close"),
        button,
      ),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("textarea, input")?.focus();
  return dialog;
}

/** Mark the fields that a refusal names, and go to the first. */
function point(dialog, problem) {
  const inputs = [...dialog.querySelectorAll("[name]")];
  const wrong = inputs.filter((it) => problem.errors.some((said) => said.startsWith(it.name)));
  for (const it of inputs) it.setAttribute("aria-invalid", String(wrong.includes(it)));
  wrong[0]?.focus();
}

/** The field that every action has. */
export function reasonField(hint = "It goes into the history, with your name.") {
  return [
    make("label", { for: "reason" }, "Reason"),
    make("textarea", {
      ...{ id: "reason", name: "reason", required: true, maxlength: LONGEST, rows: 3 },
      "aria-describedby": "reason-hint",
    }),
    make("p", { class: "hint", id: "reason-hint" }, hint),
  ];
}

/** Confirm an action on one request; `then` gets the request as it is afterwards. */
export function actOn(request, action, then) {
  const { name, means, done, grave } = ACTIONS[action];
  const id = request.correlationId;
  const doubt = request.returnsTo === "opening" && !request.ticketId && request.sentAt;
  const fields = [
    action === "attach" && textField("ticketKey", "Key or id of the ticket"),
    action === "retry" && doubt && vouching(),
    reasonField(),
  ];
  confirmed({
    ...{ title: `${name}?`, submit: name, grave, fields },
    about: [make("p", {}, means), make("p", { class: "id" }, id)],
    async does(dialog, { noTicketExists, ...given }) {
      const body = noTicketExists ? { ...given, noTicketExists: true } : given;
      const after = await act(ofRequest(id, action), body);
      dialog.close();
      tell(`Request ${id} ${done}.`);
      then(after);
    },
  });
}

function textField(name, label) {
  const input = { id: name, name, required: true, maxlength: LONGEST, autocomplete: "off" };
  return [make("label", { for: name }, label), make("input", input)];
}

function vouching() {
  return make(
    "div",
    { class: "vouching" },
    make("p", {}, "A ticket may have been created, and the answer was lost. Look for the "
      + "correlation id in the ticket system first."),
    make(
      "label",
      { class: "choice" },
      make("input", { type: "checkbox", name: "noTicketExists" }),
      " I looked: no ticket exists. Open a new one.",
    ),
  );
}

/** Confirm a pause, or its end, of a destination. */
export function pausing(destination, paused, then) {
  const action = paused ? "resume" : "pause";
  const name = paused ? "Resume" : "Pause";
  confirmed({
    ...{ title: `${name} ${destination}?`, submit: name, fields: reasonField() },
    about: make("p", {}, paused
      ? "It is used again at once, whatever paused it."
      : "It is not called until somebody resumes it. Requests are taken and wait; none is lost."),
    async does(dialog, { reason }) {
      await act(`destinations/${encodeURIComponent(destination)}/${action}`, { reason });
      dialog.close();
      tell(paused ? `${destination} is used again.` : `${destination} is paused.`);
      then();
    },
  });
}

/** Count what a filter names, then retry or cancel all of it once that is confirmed. */
export async function actOnMany(action, filter, then) {
  const { name, means, grave } = ACTIONS[action];
  const shown = Object.entries(filter).map(([key, value]) => `${key} ${value}`).join(" · ");
  const count = make("p", { class: "count" }, "Counting …");
  const bar = make("progress", { max: 1, value: 0, hidden: true, "aria-label": "Progress" });
  const failures = make("ul", { class: "failures" });
  const dialog = confirmed({
    ...{ title: `${name}: all of these?`, submit: name, grave },
    about: [make("p", {}, means), make("p", { class: "id" }, shown), count, bar, failures],
    fields: reasonField("It goes into the history of each, with your name."),
    async does(dialog, { reason }) {
      failures.replaceChildren();
      const sum = await overPages(action, filter, { reason, dryRun: false }, (page, sum) => {
        bar.hidden = false;
        bar.value = sum.done + sum.failed;
        count.textContent = `${sum.done} of ${counted(Number(bar.max))} done`;
        failures.append(...page.failed.map((it) => make("li", {}, `${it.correlationId}: ${it.error}`)));
      });
      tell(`${counted(sum.done)} done, ${sum.failed} not.`);
      then();
      if (!sum.failed) dialog.close();
    },
  });
  const button = dialog.querySelector("button[type=submit]");
  button.disabled = true;
  try {
    const { matching } = await overPages(action, filter, { reason: "to count them", dryRun: true });
    bar.max = Math.max(1, matching);
    count.textContent = matching ? `${counted(matching)} match.` : "Nothing matches.";
    button.textContent = `${name} (${matching})`;
    button.disabled = !matching;
  } catch (problem) {
    count.replaceWith(refusal(problem));
  }
}

/** Go over all pages of a bulk action; `each` hears of every one. */
async function overPages(action, filter, body, each = () => {}) {
  const sum = { matching: 0, done: 0, failed: 0 };
  for (let before = {}; before; ) {
    const page = await act(`bulk/${action}`, { ...body, filter: { ...filter, ...before } });
    sum.matching += page.matching;
    sum.done += page.done ?? 0;
    sum.failed += page.failed?.length ?? 0;
    each(page, sum);
    before = page.next && { before: page.next };
  }
  return sum;
}
