// What this tab shows beside the browser's cookie, where applications of sessions share the page's origin: there the
// cookie comes with their requests too, so that the launcher takes it only with a token that is told at the sign-in.
//
// A page of an application is of the same origin. What it cannot read is the memory of a tab that it did not open, and
// what another entry of a tab's history keeps. Storage of the origin it could read, and so nothing is kept there. Without
// TLS browsers let it hold on to a tab that it was in once: then the token is gone with the document.

const isKept = window.isSecureContext;
let token = (isKept && history.state?.page) || null;

export const pageToken = () => token;

// Whether the launcher said so when this tab signed in.
export const isShared = () => token !== null;

export function signedIn(answer) {
  token = answer.page_token || null;
  keep();
}

export function forget() {
  token = null;
  keep();
}

// Each entry of the history has it, so that a reload does.
export function keep() {
  if (isKept && (history.state?.page || null) !== token) history.replaceState({ ...history.state, page: token }, "");
}

if (!isKept) window.addEventListener("pagehide", () => { token = null; });
