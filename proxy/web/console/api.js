/** The operator API of the listener that this page came from; see /openapi.yaml. */

const ROOT = new URL("../api/", document.baseURI);
const KEPT = "approval-proxy-key";
const PATIENCE = 30_000; // milliseconds for one answer

/** What the API refused, or that nothing usable came from there (`status` 0). */
export class Problem extends Error {
  constructor(message, { status = 0, errors = [] } = {}) {
    super(message);
    this.status = status;
    this.errors = errors;
  }
}

/** The key of whoever is signed in; it is kept for this tab alone and sent in a header alone. */
export const key = {
  get: () => sessionStorage.getItem(KEPT),
  keep: (value) => sessionStorage.setItem(KEPT, value),
  forget: () => sessionStorage.removeItem(KEPT),
};

/** Read a page of the API; `query` may have values that are empty. */
export function read(path, query = {}, as = key.get()) {
  const given = Object.entries(query).filter(([, value]) => value);
  return ask("GET", path, new URLSearchParams(given), undefined, as);
}

/** Change something; the answer says how it is then. */
export function act(path, body) {
  return ask("POST", path, "", JSON.stringify(body), key.get());
}

/** Return the path of a request, or of what is done to it. */
export function ofRequest(id, action = "") {
  return `requests/${encodeURIComponent(id)}${action && `/${action}`}`;
}

async function ask(method, path, query, body, as) {
  const url = new URL(path, ROOT);
  url.search = query;
  const headers = { Authorization: `Bearer ${as}`, Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer, page;
  try {
    answer = await fetch(url, {
      ...{ method, headers, body, cache: "no-store", credentials: "omit", redirect: "error" },
      signal: AbortSignal.timeout(PATIENCE),
    });
    page = await answer.json();
  } catch {
    throw new Problem("The approval proxy cannot be reached, or did not answer in time.", {
      status: answer && !answer.ok ? answer.status : 0,
    });
  }
  if (answer.ok) return page;
  throw new Problem(page.detail ?? `It answered ${answer.status}.`, {
    status: answer.status,
    errors: page.errors,
  });
}
