// The launcher's API, as the page's own origin may use it: the cookie says who asks, the header that it is us.

import { pageToken } from "./tab.js";

const BASE = "/api/v1";

// A refusal, as the launcher words it.
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail || document.title || `the launcher answered ${status}`);
    this.status = status;
    this.code = document.code || "internal";
    this.hint = document.hint || "";
    this.field = document.field || "";
    this.trace = document.trace_id || "";
    this.errors = document.errors || (document.field ? [{ field: document.field, message: this.message }] : []);
    this.retryAfter = document.retry_after || null;
  }
}

// Set by the page: what to do when the sign-in is over.
export const signedOut = { then: () => {} };

async function answer(response, quiet) {
  if (response.ok) return response;
  let document = {};
  try {
    document = await response.json();
  } catch {
    document = { detail: `The launcher answered ${response.status} ${response.statusText}.` };
  }
  if (response.status === 401 && !quiet) signedOut.then();
  throw new Problem(response.status, document);
}

// Sends a request; the response, or a thrown Problem.
export async function request(method, path, { body, headers = {}, signal, quiet = false, base = BASE } = {}) {
  const all = { "X-Wharf-Page": pageToken() || "1", ...headers };
  if (body !== undefined) all["Content-Type"] ??= "application/json";
  let response;
  try {
    response = await fetch(base + path, {
      method,
      headers: all,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      credentials: "same-origin",
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, {
      code: "no_launcher",
      detail: "The launcher does not answer.",
      hint: "Sessions go on without it. Try again in a moment",
    });
  }
  return answer(response, quiet);
}

async function json(method, path, options) {
  const response = await request(method, path, options);
  return response.status === 204 ? null : response.json();
}

export const get = (path, options) => json("GET", path, options);
export const post = (path, body = {}, options = {}) => json("POST", path, { body, ...options });
export const remove = (path, options) => json("DELETE", path, options);

// A JSON merge patch, applied only while nobody else has changed it.
export const patch = (path, body, rev) =>
  json("PATCH", path, { body, headers: rev === undefined ? {} : { "If-Match": String(rev) } });

// Every item of a collection, all pages.
export async function all(path, most = 2000) {
  const items = [];
  let cursor = null;
  do {
    const query = new URLSearchParams({ limit: "500" });
    if (cursor) query.set("cursor", cursor);
    const page = await get(`${path}${path.includes("?") ? "&" : "?"}${query}`);
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor && items.length < most);
  return items;
}

export const session = (id, rest = "") => `/sessions/${encodeURIComponent(id)}${rest}`;

// The address of a stream.
export function streamAddress(path) {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.host}${BASE}${path}`;
}

// The subprotocols of a stream: all that a page can say with one.
export const streamProtocols = () => (pageToken() ? ["wharf", `page.${pageToken()}`] : []);

// Random letters for an idempotency key; also where the page is not on a secure origin.
export function key() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
