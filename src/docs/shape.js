// JSON Schemas as text for people: what has a name of its own links to it.

import { element } from "./element.js";

const INDENT = "  ";

/** The nodes that show a schema. */
export function shape(schema, indent = "") {
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return [element("a", { href: `#schema-${name}` }, name)];
  }
  for (const [key, mark] of [["allOf", " & "], ["anyOf", " | "], ["oneOf", " | "]]) {
    if (schema[key]) return joined(schema[key].map((part) => shape(part, indent)), mark);
  }
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  const types = [schema.type ?? "any"].flat();
  if (types[0] === "array") return ["[", ...shape(schema.items, indent), ", …]", bounds(schema)];
  if (types[0] === "object" && schema.properties) return object(schema, indent);
  if (schema.additionalProperties?.type) return ["{ name: ", ...shape(schema.additionalProperties, indent), ", … }"];
  return [types.join(" | "), bounds(schema)];
}

function object(schema, indent) {
  const inner = indent + INDENT;
  const lines = Object.entries(schema.properties).flatMap(([name, property]) => [
    `${inner}${name}${schema.required?.includes(name) ? "" : "?"}: `,
    ...shape(property, inner),
    property.description ? `   – ${property.description}` : "",
    "\n",
  ]);
  return ["{\n", ...lines, `${indent}}`];
}

function bounds({ minimum, maximum, minLength, maxLength, minItems, maxItems, format, default: usual }) {
  const range = (low, high, unit) =>
    low === undefined && high === undefined ? null : `${low ?? ""}…${high ?? ""}${unit}`;
  const told = [
    format === "int64" ? null : format,
    format === "int64" && maximum === undefined ? null : range(minimum, maximum, ""),
    range(minLength, maxLength, " characters"),
    range(minItems, maxItems, " members"),
    usual === undefined ? null : `default ${usual}`,
  ].filter(Boolean);
  return told.length ? ` (${told.join(", ")})` : "";
}

function joined(parts, mark) {
  return parts.flatMap((part, index) => (index ? [mark, ...part] : part));
}
