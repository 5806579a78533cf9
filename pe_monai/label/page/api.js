// Copyright (c) pe_monai contributors. SPDX-License-Identifier: Apache-2.0
// Requests to the server, with a login where it wants one.

let token = sessionStorage.getItem("token");
let asking = null;

export async function request(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (options.json !== undefined) {
    headers["Content-Type"] = "application/json";
    options = { ...options, body: JSON.stringify(options.json) };
  }
  const answer = await fetch(path, { ...options, headers }).catch(() => {
    throw new Error("the server does not answer");
  });
  if (answer.status === 401) {
    await (asking ??= login().finally(() => (asking = null)));
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

// null where there is none
export const loadLabel = (image, tag) =>
  request(`datastore/label?label=${encodeURIComponent(image)}&tag=${tag}`).catch((error) => {
    if (error.status === 404) return null;
    throw error;
  });

export async function saveLabel(image, blob, tag) {
  const form = new FormData();
  form.append("label", blob, "label.png");
  await request(`datastore/label?${named(image)}&tag=${tag}`, { method: "PUT", body: form });
}

function login() {
  const dialog = document.getElementById("login");
  return new Promise((resolve) => {
    dialog.onclose = async () => {
      const body = new URLSearchParams({
        username: document.getElementById("user").value,
        password: document.getElementById("password").value,
      });
      document.getElementById("password").value = "";
      const answer = await fetch("auth/token", { method: "POST", body });
      if (!answer.ok) {
        const detail = await answer.json().then((body) => body.detail, () => answer.statusText);
        document.getElementById("refused").textContent = String(detail);
        return dialog.showModal();
      }
      token = (await answer.json()).access_token;
      sessionStorage.setItem("token", token);
      resolve();
    };
    dialog.showModal();
  });
}
