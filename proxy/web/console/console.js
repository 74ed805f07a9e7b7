/** The console: signs an operator in, shows the page of the address, and keeps it fresh. */

import { key, Problem, read } from "./api.js";
import { clock, make, redraw, refusal, tick } from "./dom.js";
import { list } from "./list.js";
import { overview } from "./overview.js";
import { request } from "./request.js";

const PACE = 10_000; // milliseconds between two looks; none while nobody sees the page
const SOON = 1_500; // after something was done: what the server knows of all is half a second old

const part = (id) => document.getElementById(id);
const main = part("main");
let view = null;
let shown = ""; // what the page shows, as JSON: the same again is not drawn again
let looked = 0; // when that was
let looks = 0;
let timer = 0;

/** Return the page that an address names. */
function pageOf(hash) {
  const [path, query] = hash.replace(/^#?\/?/, "").split("?");
  const [place, id] = path.split("/"); // ids have nothing to decode
  const ways = { go: (to) => { location.hash = to; }, again: () => look(SOON) };
  if (place === "requests" && id) return request(id, ways);
  if (place === "requests") return list(new URLSearchParams(query), ways);
  return overview(ways);
}

/** Show the page of the address. */
function route() {
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  if (!key.get()) {
    signIn();
    return;
  }
  const before = view;
  view = pageOf(location.hash);
  shown = "";
  for (const link of document.querySelectorAll("nav [data-page]")) {
    const here = link.dataset.page === view.page;
    here ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  document.title = `${view.title} · Approval proxy`;
  if (before?.title !== view.title) {
    main.replaceChildren(make("p", { class: "calm" }, "Loading …"));
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  look();
}

/** Load what the page shows and draw it, and do so again after a while; the latest look counts. */
async function look(pace = PACE) {
  clearTimeout(timer);
  const mine = ++looks;
  let found, problem;
  try {
    found = await view.load();
  } catch (trouble) {
    problem = trouble;
  }
  if (mine !== looks) return;
  if (problem) {
    failed(problem);
  } else {
    show(found);
  }
  if (view) timer = setTimeout(() => document.hidden || look(), pace);
}

function show(found) {
  welcome(found.operator);
  const text = JSON.stringify(found);
  if (text !== shown) view.draw(main, found);
  shown = text;
  looked = Date.now();
  fresh();
  tick();
}

function fresh() {
  part("fresh").textContent = `As of ${clock(looked)}.`;
  part("unreachable").hidden = true;
}

/** Say why the page could not be loaded; what it showed before stays, with its age. */
function failed(problem) {
  if (!(problem instanceof Problem)) throw problem;
  if (problem.status === 401) {
    signOut("This key is not valid any more. Sign in with another one.");
    return;
  }
  if (problem.status && problem.status < 500) {
    shown = "";
    redraw(main, make("h1", {}, view.title), refusal(problem));
    fresh();
    return;
  }
  const stale = shown ? ` What is shown is of ${clock(looked)}.` : "";
  part("unreachable").textContent = `${problem.message}${stale} Trying again.`;
  part("unreachable").hidden = false;
}

function signIn(said = "") {
  view = null;
  looks += 1; // what is under way is for nobody
  clearTimeout(timer);
  for (const id of ["top", "bottom", "unreachable"]) part(id).hidden = true;
  document.title = "Sign in · Approval proxy";
  const trouble = make("div", {}, said && make("p", { class: "refusal", role: "alert" }, said));
  const input = make("input", {
    ...{ id: "key", type: "password", required: true, autocomplete: "off", spellcheck: "false" },
    "aria-describedby": "key-hint",
  });
  const button = make("button", { type: "submit", class: "primary" }, "Sign in");
  main.replaceChildren(
    make(
      "form",
      {
        class: "card sign-in",
        submit: async (event) => {
          event.preventDefault();
          button.disabled = true;
          try {
            await enter(input.value.trim());
          } catch (problem) {
            trouble.replaceChildren(refusal(problem));
            input.select();
          } finally {
            button.disabled = false;
          }
        },
      },
      make("h1", {}, make("img", { src: "icon.svg", alt: "", width: 32, height: 32 }), " Approval proxy"),
      make("label", { for: "key" }, "Operator key"),
      input,
      make("p", { class: "hint", id: "key-hint" },
        "A key of operators.clients in the settings. It stays in this tab until you sign out."),
      trouble,
      button,
    ),
  );
  input.focus();
}

/** Sign in with a key, if the API knows it. */
async function enter(given) {
  if (!/^[\x21-\x7e]+$/.test(given)) throw new Problem("This is no key: it has characters that none has.");
  try {
    await read("status", {}, given);
  } catch (problem) {
    if (problem.status !== 401) throw problem;
    throw new Problem("No operator has this key; it may be mistyped, withdrawn or over.");
  }
  key.keep(given);
  route();
}

function welcome({ name, role }) {
  part("who").textContent = `${name} (${role})`;
  for (const id of ["top", "bottom"]) part(id).hidden = false;
}

function signOut(said) {
  key.forget();
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
  part("who").textContent = "";
  part("search").reset();
  signIn(said);
}

part("sign-out").addEventListener("click", () => signOut("You are signed out."));
part("refresh").addEventListener("click", () => look());
part("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
part("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = new FormData(event.target).get("for").trim();
  if (!wanted) return;
  location.hash = /^ar[0-9a-f]{28}$/.test(wanted)
    ? `#/requests/${wanted}`
    : `#/requests?${new URLSearchParams({ ticket: wanted })}`;
});
addEventListener("hashchange", route);
document.addEventListener("visibilitychange", () => {
  if (view && !document.hidden) look();
});

route();
