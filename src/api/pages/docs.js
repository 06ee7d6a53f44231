// The readable page of the API, made from /openapi.json.

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEPTH_MAX = 8;

/** What a `$ref` points at. */
function resolve(root, node) {
  let found = node;
  for (let hops = 0; typeof found?.$ref === "string" && hops < DEPTH_MAX; hops += 1) {
    found = found.$ref.slice(2).split("/").reduce((at, name) => at?.[name.replaceAll("~1", "/").replaceAll("~0", "~")], root);
  }
  return found ?? {};
}

function typeOf(root, schema) {
  const it = resolve(root, schema);
  const choices = it.oneOf ?? it.anyOf;
  if (choices) return choices.map((one) => typeOf(root, one)).join(" or ");
  if (it.enum) return it.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (it.const !== undefined) return JSON.stringify(it.const);
  const type = Array.isArray(it.type) ? it.type.join(" or ") : it.type ?? (it.properties ? "object" : "anything");
  const bounds = [it.minimum !== undefined && `from ${it.minimum}`, it.maximum !== undefined && `to ${it.maximum}`, it.default !== undefined && `default ${JSON.stringify(it.default)}`];
  const named = type.startsWith("array") && it.items ? `list of ${typeOf(root, it.items)}` : it.format ? `${type} (${it.format})` : type;
  return [named, ...bounds].filter(Boolean).join(", ");
}

/** The fields of an object, of a list's items, or of every choice. */
function fieldsOf(root, schema) {
  const it = resolve(root, schema);
  if (it.items) return fieldsOf(root, it.items);
  const parts = [it, ...(it.allOf ?? []), ...(it.oneOf ?? []), ...(it.anyOf ?? [])].map((one) => resolve(root, one));
  const fields = parts.flatMap((one) => Object.entries(one.properties ?? {}).map(([name, inner]) => ({ name, inner, isRequired: (one.required ?? []).includes(name) })));
  if (it.additionalProperties && typeof it.additionalProperties === "object") fields.push({ name: "(any name)", inner: it.additionalProperties, isRequired: false });
  return fields;
}

/** `outer`: what this stands in, so that what holds itself ends. */
function schemaList(root, schema, outer = []) {
  const it = resolve(root, schema);
  const fields = outer.includes(it) || outer.length >= DEPTH_MAX ? [] : fieldsOf(root, it);
  if (fields.length === 0) return null;
  return make("ul", { class: "schema" }, fields.map(({ name, inner, isRequired }) => {
    const said = resolve(root, inner).description;
    return make("li", {},
      make("code", {}, plain(name)), " ",
      make("span", { class: "type" }, plain(typeOf(root, inner)), isRequired ? "" : ", may be absent"),
      said && ` – ${plain(said)}`,
      schemaList(root, inner, [...outer, it]));
  }));
}

function contentOf(root, holder) {
  return Object.entries(holder?.content ?? {}).map(([type, { schema }]) => [
    make("p", { class: "quiet small" }, plain(type), schema ? `: ${plain(typeOf(root, schema))}` : ""),
    schema && schemaList(root, schema),
  ]);
}

function curlOf(method, path, isOpen) {
  return ["curl", method === "get" ? null : `-X ${method.toUpperCase()}`, isOpen ? null : '-H "Authorization: Bearer $REMELT_API_TOKEN"', `'${location.origin}${path}'`].filter(Boolean).join(" ");
}

function operationCard(root, path, method, operation, id) {
  const parameters = [...(root.paths[path].parameters ?? []), ...(operation.parameters ?? [])].map((one) => resolve(root, one));
  const security = operation.security ?? root.security ?? [];
  const isOpen = security.length === 0 || security.some((one) => Object.keys(one).length === 0);
  const name = `${method.toUpperCase()} ${path}`;
  return make("article", { class: "operation", id, "aria-labelledby": `${id}-title` },
    make("h3", { id: `${id}-title` }, make("span", {}, method.toUpperCase()), make("span", { class: "break" }, plain(path))),
    make("p", { class: "text" }, plain(operation.summary ?? "")),
    operation.description && make("p", { class: "text quiet" }, operation.description.split("\n").map(plain).join("\n")),
    isOpen && make("p", { class: "quiet small" }, "No token needed."),
    /^[\w/{}.-]+$/.test(path) && make("div", { class: "command" }, make("pre", { tabindex: "0", role: "group", "aria-label": `How to call ${name}` }, curlOf(method, path, isOpen)), copyButton(curlOf(method, path, isOpen), `the call of ${name}`)),
    parameters.length > 0 && table({
      caption: `Parameters of ${name}`,
      columns: [
        { label: "Parameter", cell: (one) => make("code", {}, plain(one.name)) },
        { label: "In", cell: (one) => plain(one.in) },
        { label: "Type", cell: (one) => plain(typeOf(root, one.schema ?? {})) + (one.required ? ", required" : "") },
        { label: "Meaning", is: "long", cell: (one) => plain(one.description ?? resolve(root, one.schema).description ?? "") },
      ],
      rows: parameters,
    }),
    operation.requestBody && make("div", {}, make("h4", {}, "Body"), contentOf(root, resolve(root, operation.requestBody))),
    answersOf(root, operation));
}

/** What goes well by itself; what is refused together, because it is much the same everywhere. */
function answersOf(root, operation) {
  const all = Object.entries(operation.responses ?? {}).map(([status, answer]) => {
    const it = resolve(root, answer);
    return { status, it, line: [make("span", { class: "status" }, plain(status)), " ", plain(it.description ?? "")] };
  });
  const refusals = all.filter(({ status }) => /^[45]/.test(status));
  const others = all.filter(({ status }) => !/^[45]/.test(status));
  return make("div", {}, make("h4", {}, "Answers"),
    others.map(({ it, line }) => (it.content ? make("details", {}, make("summary", {}, line), contentOf(root, it)) : make("p", {}, line))),
    refusals.length > 0 && make("details", {}, make("summary", {}, `Refusals: ${refusals.map(({ status }) => plain(status)).join(", ")}`),
      make("ul", { class: "schema" }, refusals.map(({ line }) => make("li", {}, line)))));
}

/** The heading that an operation stands under. */
function groupOf(path, operation) {
  const [, first, second] = path.split("/");
  return operation.tags?.[0] ?? (first === "admin" && second ? second : "service");
}

function drawDocs(root) {
  const groups = new Map();
  for (const [path, methods] of Object.entries(root.paths ?? {})) {
    for (const method of METHODS.filter((one) => methods[one])) {
      const tag = groupOf(path, methods[method]);
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push({ path, method, operation: methods[method] });
    }
  }
  let number = 0;
  const links = [];
  const sections = [];
  for (const [tag, operations] of groups) {
    const cards = operations.map(({ path, method, operation }) => {
      number += 1;
      const id = `operation-${number}`;
      return { id, path, method, card: operationCard(root, path, method, operation, id) };
    });
    const heading = plain(tag).charAt(0).toUpperCase() + plain(tag).slice(1);
    links.push(make("div", {}, make("h2", {}, heading), make("ul", {}, cards.map(({ id, path, method }) =>
      make("li", {}, make("a", { href: `#${id}`, class: "mono" }, method === "get" ? "" : `${method.toUpperCase()} `, plain(path)))))));
    sections.push(make("section", {}, make("h2", {}, heading), cards.map(({ card }) => card)));
  }
  fill(byId("contents"), links);
  fill(byId("operations"),
    make("h1", {}, plain(root.info?.title ?? "API")),
    make("p", { class: "lead quiet" }, (root.info?.description ?? "").split("\n").map(plain).join("\n")),
    make("p", { class: "small quiet" }, `Version ${plain(root.info?.version ?? "")}. The same as data: `, make("code", {}, "/openapi.json")),
    sections);
  byId("page").hidden = false;
  byId("forget").hidden = false;
  const named = /^#(operation-\d+)$/.exec(location.hash)?.[1];
  if (named) byId(named)?.scrollIntoView();
}

async function load() {
  try {
    const answer = await request("/openapi.json", { signal: AbortSignal.timeout(ANSWER_SECONDS_MAX * 1000) });
    if (!answer.ok) throw await problemOf(answer);
    drawDocs(await answer.json());
  } catch (problem) {
    if (problem.kind === "unauthorized") {
      leave(problem.message);
      return;
    }
    fill(byId("operations"), make("h1", {}, "The API's description could not be loaded"),
      make("p", { class: "lead" }, problem instanceof Problem ? sentence(problem.message) : "The connection to the server is lost."),
      make("p", {}, make("button", { type: "button", on: { click: load } }, "Try again")));
    byId("page").hidden = false;
  }
}

function leave(fault = "") {
  forget(TOKEN);
  byId("page").hidden = true;
  byId("forget").hidden = true;
  fill(byId("operations"));
  fill(byId("contents"));
  askForToken(load, fault);
}

startTheme();
byId("forget").addEventListener("click", () => leave());
if (recall(TOKEN)) load();
else askForToken(load);
