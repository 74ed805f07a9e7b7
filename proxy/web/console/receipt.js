/** The signed receipt of a decision: what it says, and the text to keep and to verify. */

import { ofRequest, read } from "./api.js";
import { make, refusal } from "./dom.js";

/** Fetch a receipt and show it, or why there is none. */
export async function showReceipt(id) {
  const content = make("div", {}, make("p", {}, "Signing …"));
  const dialog = make(
    "dialog",
    { "aria-labelledby": "dialog-title", class: "wide", close: () => dialog.remove() },
    make("h2", { id: "dialog-title" }, "Receipt"),
    content,
    make(
      "div",
      { class: "buttons" },
      make("button", { type: "button", class: "quiet", click: () => dialog.close() }, "Close"),
    ),
  );
  document.body.append(dialog);
  dialog.showModal();
  try {
    const { receipt } = await read(ofRequest(id, "receipt"));
    content.replaceChildren(
      make("p", {}, "What it says:"),
      make("pre", { tabindex: "0" }, JSON.stringify(payload(receipt), null, 2)),
      make("label", { for: "jws" }, "The receipt itself (JWS). Keep it in a file, and verify it with "
        + "`approval-proxy receipts verify`:"),
      make("textarea", { id: "jws", readonly: true, rows: 5 }, receipt),
    );
  } catch (problem) {
    content.replaceChildren(refusal(problem));
  }
}

/** Return what a compact JWS (RFC 7515) says; nobody has verified it here. */
function payload(receipt) {
  const base64 = receipt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
  const bytes = Uint8Array.from(atob(base64), (it) => it.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}
