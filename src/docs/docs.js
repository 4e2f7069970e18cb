// The page of the API: draws the OpenAPI document, and lets its operations be tried.

import { element, prose } from "./element.js";
import { shape } from "./shape.js";
import { signIn, trial } from "./trial.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const at = (id) => document.getElementById(id);

const answer = await fetch("/api/schema/").catch((error) => error);
if (answer.ok) draw(await answer.json());
else fail(`The document cannot be read: ${answer.message ?? answer.status}.`);

at("token").addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = await signIn(at("username").value, at("password").value).then(
    (name) => `Signed in as ${name}: what is tried below is sent with that token.`,
    (error) => `Not signed in: ${error.message}`,
  );
  at("password").value = "";
  at("signed-in").textContent = said;
});

function fail(text) {
  at("notice").textContent = text;
  at("notice").hidden = false;
}

function draw(api) {
  at("title").textContent = `${api.info.title}: the API`;
  at("version").textContent = api.info.version;
  at("about").append(element("p", {}, prose(api.info.summary)), element("p", { class: "muted" }, prose(api.info.description)));
  const names = [...api.tags.map(({ name }) => [name, `tag-${name}`]), ["Schemas", "shapes"]];
  at("contents").append(
    element("ul", {}, names.map(([name, id]) => element("li", {}, element("a", { href: `#${id}` }, name)))),
  );
  at("operations").append(...api.tags.map((tag) => section(api, tag)));
  at("shapes").append(element("h2", {}, "Schemas"), ...Object.entries(api.components.schemas).map(named));
  open();
  addEventListener("hashchange", open);
}

/** Shows the operation that the address names. */
function open() {
  const named = location.hash && at(decodeURIComponent(location.hash.slice(1)));
  if (named instanceof HTMLDetailsElement) named.open = true;
  if (named) named.scrollIntoView();
}

function section(api, { name, description }) {
  const operations = Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]?.tags.includes(name)).map((method) => operation(api, path, method, item)),
  );
  return element(
    "section",
    { id: `tag-${name}`, "aria-label": name },
    element("h2", {}, name),
    element("p", { class: "muted" }, prose(description)),
    operations,
  );
}

function operation(api, path, method, item) {
  const about = item[method];
  const details = element(
    "details",
    { class: "operation", id: about.operationId },
    element(
      "summary",
      {},
      element("span", { class: `method method-${method}` }, method.toUpperCase()),
      element("code", { class: "path" }, path),
      element("span", { class: "what" }, about.summary),
    ),
  );
  // Drawn when it is first looked at: there are some fifty.
  details.addEventListener("toggle", () => details.append(body(api, path, method, item)), { once: true });
  return details;
}

function body(api, path, method, item) {
  const about = item[method];
  const parameters = [...(item.parameters ?? []), ...(about.parameters ?? [])].map((given) => resolved(api, given));
  const content = about.requestBody?.content ?? {};
  const json = content["application/json"]?.schema;
  const isSocket = "101" in about.responses;
  return element(
    "div",
    {},
    about.description && element("p", {}, prose(about.description)),
    about.security && !about.security.length && element("p", { class: "muted" }, "Needs no token."),
    parameters.length ? [element("h3", {}, "Parameters"), list(parameters.map(parameter))] : [],
    Object.keys(content).length ? [element("h3", {}, "Body"), media(content)] : [],
    element("h3", {}, "Answers"),
    list(Object.entries(about.responses).map(([status, given]) => response(status, resolved(api, given)))),
    isSocket || (about.requestBody && !json) ? null : trial(method, path, parameters, json ? sampled(api, json) : null),
  );
}

function list(entries) {
  return element("dl", {}, entries.map(([term, about]) => [element("dt", {}, term), element("dd", {}, about)]));
}

function parameter({ name, in: place, required, description, schema }) {
  const told = [...shape(schema), ` in the ${place}${required ? ", required" : ""}. `];
  return [element("code", {}, name), [element("span", { class: "muted" }, told), prose(description ?? "")].flat()];
}

function response(status, { description, content, headers }) {
  const names = Object.keys(headers ?? {});
  const told = names.length ? element("p", { class: "muted" }, `With ${names.join(", ")}.`) : null;
  return [status, [element("p", {}, prose(description)), told, content ? media(content) : null]];
}

/** What a body is, kinds of the same shape together. */
function media(content) {
  const kinds = new Map();
  for (const [kind, { schema }] of Object.entries(content)) {
    const key = JSON.stringify(schema);
    kinds.set(key, { schema, kinds: [...(kinds.get(key)?.kinds ?? []), kind] });
  }
  return element(
    "div",
    {},
    [...kinds.values()].map(({ schema, kinds: all }) => [
      all.join() === "application/json" ? null : element("p", { class: "muted" }, all.join(", ")),
      element("pre", { tabindex: "0" }, shape(schema)),
    ]),
  );
}

function named([name, schema]) {
  return element(
    "section",
    { id: `schema-${name}`, "aria-label": name },
    element("h3", {}, name),
    schema.description ? element("p", {}, prose(schema.description)) : null,
    element("pre", { tabindex: "0" }, shape(schema)),
  );
}

function resolved(api, given) {
  return given.$ref ? given.$ref.split("/").slice(1).reduce((node, key) => node[key], api) : given;
}

/** A body to begin with: what must be in it, each as plain as it can be. */
function sampled(api, schema) {
  return JSON.stringify(sample(api, schema), null, 2);
}

function sample(api, given) {
  const schema = resolved(api, given);
  const type = [schema.type].flat()[0];
  if (type === "object") {
    const wanted = (schema.required ?? []).map((name) => [name, sample(api, schema.properties[name])]);
    return Object.fromEntries(wanted);
  }
  if (type === "array") return [sample(api, schema.items)];
  if (type === "integer" || type === "number") return Math.max(schema.minimum ?? 1, 1);
  if (type === "boolean") return false;
  return schema.enum?.[0] ?? schema.examples?.[0] ?? "";
}
