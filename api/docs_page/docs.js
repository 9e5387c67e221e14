"use strict";
// Draws /openapi.json. Text is only ever set as text, never as markup.

const METHODS = ["get", "post", "put", "patch", "delete"];

function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  for (const child of children) element.append(child);
  return element;
}

function resolved(spec, node) {
  if (!node || !node.$ref) return node || {};
  const found = node.$ref.slice(2).split("/").reduce((place, part) => place[part], spec);
  return resolved(spec, found);
}

// An example of what a schema allows, in JSON's own words.
function sample(spec, schema, depth = 0) {
  const found = resolved(spec, schema);
  const kind = Array.isArray(found.type) ? found.type[0] : found.type;
  if (depth > 6) return "…";
  if ("example" in found) return found.example;
  if (found.anyOf || found.oneOf) return sample(spec, (found.anyOf || found.oneOf)[0], depth + 1);
  if (found.enum) return found.enum[0];
  if (kind === "array") return [sample(spec, found.items || {}, depth + 1)];
  if (kind === "object" || found.properties) {
    const entries = Object.entries(found.properties || {});
    return Object.fromEntries(entries.map(([name, inner]) => [name, sample(spec, inner, depth + 1)]));
  }
  return { string: found.format || "text", integer: found.minimum ?? 1, number: found.minimum ?? 0.5, boolean: true }[kind] ?? null;
}

function limits(schema) {
  const kind = [].concat(schema.type || "any").join(" or ");
  const said = [schema.format, schema.enum && `one of ${schema.enum.join(", ")}`];
  for (const [name, words] of [["minimum", "from"], ["maximum", "to"], ["maxLength", "at most"], ["default", "default"]]) {
    if (schema[name] !== undefined) said.push(`${words} ${schema[name]}`);
  }
  return [kind, ...said.filter(Boolean)].join(", ");
}

function parameterTable(spec, parameters) {
  const table = make("table", "");
  for (const entry of parameters.map((one) => resolved(spec, one))) {
    const name = make("code", "", entry.name);
    const described = [limits(resolved(spec, entry.schema)), entry.description].filter(Boolean).join(". ");
    table.append(make("tr", "", make("td", "", name), make("td", "", entry.in), make("td", "", described)));
  }
  return table;
}

function contents(spec, content) {
  const parts = Object.entries(content || {}).map(([type, media]) => {
    const plain = !type.includes("json");
    const text = plain ? type : JSON.stringify(sample(spec, media.schema), null, 2);
    return make("pre", "", text);
  });
  return make("div", "", ...parts);
}

function details(spec, operation, shared) {
  const box = make("div", "");
  if (operation.description) box.append(make("p", "", operation.description));
  if (operation["x-role"]) box.append(make("p", "", `Role: ${operation["x-role"]}`));
  const parameters = [...shared, ...(operation.parameters || [])];
  if (parameters.length) box.append(make("h3", "", "Parameters"), parameterTable(spec, parameters));
  if (operation.requestBody) box.append(make("h3", "", "Body"), contents(spec, operation.requestBody.content));
  for (const [status, answer] of Object.entries(operation.responses || {})) {
    const found = resolved(spec, answer);
    if (status.startsWith("2")) box.append(make("h3", "", `${status} ${found.description || ""}`), contents(spec, found.content));
  }
  const failures = Object.keys(operation.responses || {}).filter((status) => /^[45]/.test(status));
  box.append(make("p", "", `Errors: ${failures.join(", ")}`));
  return box;
}

function drawn(spec, path, method, operation, shared) {
  const summary = make(
    "summary", "", make("span", `method ${method}`, method.toUpperCase()), make("span", "path", path),
    make("span", "summary", operation.summary || ""),
  );
  const row = make("details", "route", summary);
  row.dataset.text = `${method} ${path} ${operation.summary || ""}`.toLowerCase();
  row.addEventListener("toggle", () => {
    if (row.open && row.children.length === 1) row.append(details(spec, operation, shared));
  });
  return row;
}

function draw(spec) {
  const groups = new Map();
  for (const [path, item] of Object.entries(spec.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const tag = (item[method].tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(drawn(spec, path, method, item[method], item.parameters || []));
    }
  }
  const sections = [...groups].map(([tag, rows]) => make("section", "", make("h2", "", tag), ...rows));
  document.getElementById("routes").replaceChildren(...sections);
  document.getElementById("about").firstChild.textContent = `Version ${spec.info.version}, as told by `;
}

function filter(event) {
  const wanted = event.target.value.trim().toLowerCase();
  for (const row of document.querySelectorAll(".route")) row.hidden = !row.dataset.text.includes(wanted);
  for (const section of document.querySelectorAll("section")) section.hidden = !section.querySelector(".route:not([hidden])");
}

document.getElementById("search").addEventListener("input", filter);
fetch("/openapi.json")
  .then((answer) => answer.json())
  .then(draw)
  .catch((error) => { document.getElementById("about").textContent = `The description cannot be read: ${error.message}`; });
