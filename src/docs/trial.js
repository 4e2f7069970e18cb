// Trying an operation out: a form of its parameters and its body, and the answer under it.

import { element } from "./element.js";

/** What the page is signed in with; kept nowhere else. */
let access = null;

/** Signs in; gives back whose token it is, or throws with what the shop says. */
export async function signIn(username, password) {
  const answer = await fetch("/api/auth/login/", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ username, password }),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? JSON.stringify(body));
  access = body.access;
  return username;
}

/** The form for an operation. `sample` is what its body may be, null where it takes none. */
export function trial(method, path, parameters, sample) {
  const inputs = parameters.map((parameter) => [parameter, element("input", { required: parameter.required })]);
  const text = sample === null ? null : element("textarea", { spellcheck: "false" }, sample);
  const answer = element("pre", { hidden: true, role: "status", tabindex: "0" });
  const form = element(
    "form",
    { class: "trial" },
    element("div", { class: "inputs" }, inputs.map(([{ name, in: place }, input]) => labelled(`${name} (${place})`, input))),
    text && labelled("Body (JSON)", text),
    element("button", { type: "submit" }, `Send ${method.toUpperCase()}`),
    answer,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    answer.hidden = false;
    answer.textContent = "…";
    answer.textContent = await send(method, path, inputs, text?.value).catch((error) => `Not sent: ${error.message}`);
  });
  return form;
}

function labelled(name, input) {
  return element("label", {}, name, input);
}

async function send(method, path, inputs, text) {
  const { url, headers } = target(path, inputs);
  if (access) headers.set("Authorization", `Bearer ${access}`);
  if (text) headers.set("Content-Type", "application/json");
  const began = performance.now();
  const answer = await fetch(url, { method: method.toUpperCase(), headers, body: text || undefined });
  const body = await answer.text();
  const took = Math.round(performance.now() - began);
  const told = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  return `${answer.status} ${answer.statusText}   ${took} ms\n${told}\n\n${pretty(body)}`;
}

function target(path, inputs) {
  const query = new URLSearchParams();
  const headers = new Headers({ Accept: "application/json, */*;q=0.5" });
  let filled = path;
  for (const [{ name, in: place }, { value }] of inputs) {
    if (place === "path") filled = filled.replace(`{${name}}`, encodeURIComponent(value));
    else if (value !== "" && place === "query") query.set(name, value);
    else if (value !== "") headers.set(name, value);
  }
  return { url: query.size ? `${filled}?${query}` : filled, headers };
}

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
