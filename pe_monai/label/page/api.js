// Copyright (c) pe_monai contributors. SPDX-License-Identifier: Apache-2.0
// Requests to the server, with a login where it wants one.

let token = sessionStorage.getItem("token");
let asking = null;

// the tag of this browser's drafts: whoever else draws on the same frame has drafts of their own
export const DRAFT = (localStorage.draft ??= `draft-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`);

export async function request(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (options.json !== undefined) {
    headers["Content-Type"] = "application/json";
    options = { ...options, body: JSON.stringify(options.json) };
  }
  const sent = token;
  const answer = await fetch(path, { ...options, headers }).catch(() => {
    throw new Error("the server does not answer");
  });
  if (answer.status === 401) {
    // unless it was on its way during a login
    if (token === sent) await (asking ??= login().finally(() => (asking = null)));
    return request(path, options);
  }
  if (!answer.ok) {
    const detail = await answer.json().then((body) => body.detail, () => answer.statusText);
    const error = new Error(typeof detail === "string" ? detail : JSON.stringify(detail));
    throw Object.assign(error, { status: answer.status });
  }
  return answer;
}

export const get = async (path) => (await request(path)).json();
export const post = async (path, json) => (await request(path, { method: "POST", json })).json();
export const named = (image) => `image=${encodeURIComponent(image)}`;

export const revisionOf = (answer) => answer.headers.get("ETag").replaceAll('"', "");
export const loadLabel = (image, tag) => request(`datastore/label?label=${encodeURIComponent(image)}&tag=${tag}`);

const put = async (image, blob, query, headers = {}) => {
  const body = new FormData();
  body.append("label", blob, "label.png");
  return revisionOf(await request(`datastore/label?${named(image)}&${query}`, { method: "PUT", body, headers }));
};

// the revision of the label that this browser's draft was made from, "" for none; unknown without a draft
const origin = (image) => `${DRAFT} ${image}`;
export const originOf = (image) => localStorage[origin(image)];

// gives its revision
export async function saveDraftOf(image, blob, saved) {
  localStorage[origin(image)] = saved;
  return put(image, blob, `tag=${DRAFT}`);
}

// in place of the one of that revision, "" for none; ends the draft of that revision; gives its own revision
export async function saveLabel(image, blob, replaces, draft) {
  const headers = replaces ? { "If-Match": `"${replaces}"` } : { "If-None-Match": "*" };
  const revision = await put(image, blob, `tag=final${draft ? `&ends=${DRAFT}&ended=${draft}` : ""}`, headers);
  if (draft) localStorage.removeItem(origin(image)); // another tab may have a draft of its own
  return revision;
}

function login() {
  const [dialog, refused] = ["login", "refused"].map((id) => document.getElementById(id));
  return new Promise((resolve) => {
    dialog.onclose = async () => {
      const body = new URLSearchParams({
        username: document.getElementById("user").value,
        password: document.getElementById("password").value,
      });
      document.getElementById("password").value = "";
      const answer = await fetch("auth/token", { method: "POST", body }).catch(() => null);
      if (!answer?.ok) {
        const detail = await answer?.json().then((body) => body.detail, () => answer.statusText);
        refused.textContent = String(detail ?? "the server does not answer");
        return dialog.showModal();
      }
      refused.textContent = "";
      token = (await answer.json()).access_token;
      sessionStorage.setItem("token", token);
      resolve();
    };
    dialog.showModal();
  });
}
