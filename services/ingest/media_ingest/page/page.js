// A page to try the API, made from its OpenAPI document. It keeps nothing: the token lives in its input.
"use strict";

const BASE = new URL("../..", location.href);
const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];

function make(tag, attributes = {}, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}

function resolver(openapi) {
  // Follows references, also those that have something beside them.
  return function resolve(node) {
    if (!node || !node.$ref) return node || {};
    const found = node.$ref.slice(2).split("/").reduce((at, key) => at[key.replace(/~1/g, "/").replace(/~0/g, "~")], openapi);
    const { $ref, ...rest } = node;
    return { ...resolve(found), ...rest };
  };
}

function properties(schema, resolve) {
  // The fields of an object, of all parts that it is made of.
  const { allOf = [], properties: own = {}, required = [] } = resolve(schema);
  const parts = allOf.map((part) => properties(part, resolve));
  return Object.assign({}, ...parts, Object.fromEntries(
    Object.entries(own).map(([name, value]) => [name, { ...resolve(value), must: required.includes(name) }])));
}

function isFile(schema) {
  return schema.contentMediaType === "application/octet-stream" || schema.format === "binary";
}

function field(name, schema, { must, description, where }) {
  let input;
  const choices = schema.enum || (schema.type === "boolean" ? [true, false] : null);
  if (choices) {
    input = make("select", {}, make("option", { value: "" }, ""), ...choices.map((one) => make("option", { value: String(one) }, String(one))));
  } else {
    input = make("input", { type: isFile(schema) ? "file" : "text", placeholder: schema.default === undefined ? "" : String(schema.default) });
  }
  input.dataset.name = name;
  const label = make("label", {}, make("span", { className: must ? "must" : "" }, make("code", {}, name), ` ${where}`), input);
  const text = description || schema.description;
  if (text) label.append(make("small", {}, text));
  return { name, label, input };
}

function parts(body, resolve) {
  // Each media type that a body may have, as an editor: its element, and what it gives to be sent.
  return Object.entries(body.content || {}).map(([type, { schema }]) => {
    if (type === "multipart/form-data") {
      const fields = Object.entries(properties(schema, resolve)).map(([name, one]) => field(name, one, { must: one.must, where: "" }));
      const value = () => {
        const form = new FormData();
        for (const { name, input } of fields) {
          if (input.type === "file" ? input.files.length : input.value) form.append(name, input.files ? input.files[0] : input.value);
        }
        return { body: form };
      };
      return { type, element: make("div", {}, ...fields.map((one) => one.label)), value };
    }
    if (type.includes("json")) {
      const area = make("textarea", { spellcheck: false, value: JSON.stringify(example(schema, resolve), null, 2) });
      return { type, element: make("label", {}, type, area), value: () => ({ body: area.value, headers: { "Content-Type": type } }) };
    }
    const file = make("input", { type: "file" });
    return {
      type,
      element: make("label", {}, `The bytes (${type})`, file),
      value: () => (file.files.length ? { body: file.files[0] } : {}),
    };
  });
}

function example(schema, resolve) {
  const { example: given, examples, default: usual, type } = resolve(schema);
  if (given !== undefined || examples) return given ?? examples[0];
  if (usual !== undefined) return usual;
  const fields = Object.entries(properties(schema, resolve)).filter(([, one]) => one.must);
  if (fields.length || type === "object") return Object.fromEntries(fields.map(([name, one]) => [name, example(one, resolve)]));
  return { array: [], boolean: false, integer: 0, number: 0 }[Array.isArray(type) ? type[0] : type] ?? "";
}

async function show(answer, output) {
  const good = answer.ok ? "good" : "bad";
  const headers = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
  output.replaceChildren(make("p", { className: `status ${good}` }, `${answer.status} ${answer.statusText}`), make("pre", {}, headers));
  const type = answer.headers.get("Content-Type") || "";
  const shown = make("pre");
  output.append(shown);
  if (type.includes("event-stream")) {
    // As it comes, without an end.
    for (const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader(); ;) {
      const { value, done } = await reader.read();
      if (done) return;
      shown.append(value);
    }
  }
  const text = await answer.text();
  try {
    shown.textContent = type.includes("json") ? JSON.stringify(JSON.parse(text), null, 2) : text;
  } catch {
    shown.textContent = text;
  }
}

function operation(path, method, item, about, resolve) {
  const given = [...(item.parameters || []), ...(about.parameters || [])].map(resolve);
  const fields = given.map((one) => ({
    ...one,
    ...field(one.name, resolve(one.schema), { must: one.required, description: one.description, where: `in ${one.in}` }),
  }));
  const editors = about.requestBody ? parts(resolve(about.requestBody), resolve) : [];
  const choice = make("select", { ariaLabel: "Kind of body" }, ...editors.map((one, at) => make("option", { value: at }, one.type)));
  const place = make("div");
  const choose = () => place.replaceChildren(editors[choice.value]?.element ?? "");
  choice.addEventListener("change", choose);
  choose();
  const output = make("div");
  const form = make("form", {}, ...fields.map((one) => one.label));
  if (editors.length) form.append(make("fieldset", {}, make("legend", {}, "Body"), ...(editors.length > 1 ? [choice] : []), place));
  form.append(make("button", {}, "Send"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const url = new URL(path.slice(1).replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(value(name, "path"))), BASE);
    const { headers = {}, body } = editors[choice.value]?.value() ?? {};
    const token = document.getElementById("token").value.trim();
    if (token) headers.Authorization = `Bearer ${token}`;
    for (const one of fields.filter((each) => each.input.value)) {
      if (one.in === "query") url.searchParams.append(one.name, one.input.value);
      if (one.in === "header") headers[one.name] = one.input.value;
    }
    output.replaceChildren(make("p", {}, `${method.toUpperCase()} ${url.pathname}${url.search}`));
    try {
      // A redirect leads to another origin, which this page may not read.
      const answer = await fetch(url, { method: method.toUpperCase(), headers, body, credentials: "omit", redirect: "manual" });
      if (answer.type === "opaqueredirect") output.append(make("p", { className: "status good" }, "A redirect: a browser follows it by itself"));
      else await show(answer, output);
    } catch (error) {
      output.append(make("p", { className: "status bad" }, String(error)));
    }
  });
  const value = (name, where) => fields.find((one) => one.name === name && one.in === where)?.input.value ?? "";
  const answers = Object.entries(about.responses || {}).map(([code, one]) => make("small", {}, `${code}: ${resolve(one).description || ""}`));
  return make("details", { id: about.operationId || "" },
    make("summary", {}, make("span", { className: `method ${method}` }, method.toUpperCase()), make("code", {}, path), about.summary || ""),
    make("div", { className: "body" }, make("p", {}, about.description || ""), form, output, make("h3", {}, "Answers"), ...answers));
}

async function main() {
  const place = document.getElementById("operations");
  try {
    const openapi = await (await fetch(new URL("../openapi.json", location.href))).json();
    const resolve = resolver(openapi);
    document.getElementById("about").textContent = openapi.info.description;
    const groups = new Map();
    for (const [path, item] of Object.entries(openapi.paths)) {
      for (const method of METHODS.filter((one) => item[one])) {
        const tag = (item[method].tags || ["other"])[0];
        if (!groups.has(tag)) groups.set(tag, []);
        groups.get(tag).push(operation(path, method, item, item[method], resolve));
      }
    }
    place.replaceChildren(...[...groups].flatMap(([tag, all]) => [make("h2", {}, tag), ...all]));
  } catch (error) {
    place.replaceChildren(make("p", { className: "status bad" }, `The document could not be loaded: ${error}`));
  }
}

main();
