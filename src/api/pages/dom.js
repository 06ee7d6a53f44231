// Elements. All text goes in as text nodes, so nothing that a server says is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** `make("p", {class: "quiet"}, "text", node, null)`. */
function make(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS(SVG, tag), attributes, children);
}

function byId(id) {
  return document.getElementById(id);
}

/** Replaces what stands in `host`, and gives the focus back to what bears the same `data-key`. */
function fill(host, ...children) {
  const focused = document.activeElement;
  const key = host.contains(focused) ? focused.getAttribute("data-key") : null;
  const opened = new Set([...host.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key));
  const caret = focused instanceof HTMLInputElement ? focused.selectionStart : null;
  host.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  for (const one of host.querySelectorAll("details[data-key]")) one.open = one.open || opened.has(one.dataset.key);
  if (key === null) return;
  const again = [...host.querySelectorAll("[data-key]")].find((one) => one.getAttribute("data-key") === key);
  again?.focus({ preventScroll: true });
  if (caret !== null && again instanceof HTMLInputElement) again.setSelectionRange(caret, caret);
}

/** Says something to those who listen to the page instead of seeing it. */
function announce(text) {
  const announcer = byId("announcer");
  if (announcer.textContent !== text) announcer.textContent = text;
}

/** A point in time, in the reader's zone, with the exact one at hand. */
function moment(text, write = dateAndTime) {
  if (instant(text) === null) return NOTHING;
  return make("time", { datetime: text, title: text }, write(text));
}

const SHAPES = {
  bad: "M5 0 10 10H0Z",
  warn: "M5 0 10 5 5 10 0 5Z",
  good: "M5 0a5 5 0 1 0 0 10A5 5 0 0 0 5 0Z",
  calm: "M0 4h10v2H0Z",
};

const MOODS = { high: "bad", medium: "warn", low: "calm", fail: "bad", warn: "warn", pass: "good" };

/** A word in a coloured pill, with a shape for those who do not see the colour. */
function badge(word, mood) {
  const shape = draw("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, draw("path", { d: SHAPES[mood] ?? SHAPES.calm }));
  return make("span", { class: `badge ${mood}` }, shape, word);
}

function severityBadge(severity) {
  return badge(words(severity), MOODS[severity] ?? "calm");
}

/** A button that copies `text`, and says so. */
function copyButton(text, what) {
  const button = make("button", { type: "button", "aria-label": `Copy ${what}`, "data-key": `copy ${text}` }, "Copy");
  button.addEventListener("click", async () => {
    let said = "Copied";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without the clipboard (plain HTTP from another host), the text is selected for the keyboard.
      const source = button.parentElement.querySelector("pre, code");
      if (source) getSelection().selectAllChildren(source);
      said = "Selected";
    }
    button.textContent = said;
    announce(`${said}: ${what}`);
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return button;
}

function command(lines, what = "the command") {
  const text = lines.join("\n");
  return make("div", { class: "command" }, make("pre", { tabindex: "0", role: "group", "aria-label": what }, text), copyButton(text, what));
}

/**
 * A table. `columns`: `{label, cell: (row) => text or node, is: "number" | "address" | "long"}`; the first column heads its row.
 * Roles are spelled out because a table that is shown as blocks on a phone would lose them.
 */
function table({ caption, columns, rows, isCaptionSeen = false }) {
  const head = columns.map(({ label, is }) =>
    make("th", { scope: "col", role: "columnheader", class: is === "number" ? "number" : null }, label));
  const body = rows.map((row) => make("tr", { role: "row" }, columns.map(({ label, cell, is }, at) => {
    const content = cell(row);
    const classes = [is, content === NOTHING || content === "" ? "vacant" : null].filter(Boolean).join(" ");
    if (at === 0) return make("th", { scope: "row", role: "rowheader" }, content);
    return make("td", { role: "cell", class: classes || null, "data-label": label }, make("span", {}, content));
  })));
  return make("table", { class: "table stacks", role: "table" },
    make("caption", { class: isCaptionSeen ? null : "unseen" }, caption),
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, head)),
    make("tbody", { role: "rowgroup" }, body));
}

/** A long table in a place of its own, which the keyboard can scroll. */
function tall(label, content) {
  return make("div", { class: "tall", tabindex: "0", role: "region", "aria-label": label }, content);
}

/** Pairs of name and value; a value may be a list of nodes. */
function pairs(entries) {
  return make("dl", { class: "pairs" }, entries.filter(Boolean).map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

/** The rows of a page, and buttons to the ones before and after. */
function pager({ offset, limit, shown, total, what, turn }) {
  if (total === 0) return null;
  const end = offset + shown;
  const place = `${amount(Math.min(offset + 1, end))} to ${amount(end)} of ${amount(total)} ${what}`;
  // Not `disabled`: at the last page the focus would be lost.
  const button = (label, to, isAllowed) => make("button", {
    type: "button",
    "aria-disabled": isAllowed ? null : "true",
    "data-key": `${what} ${label}`,
    on: { click: () => isAllowed && turn(to) },
  }, label);
  return make("nav", { class: "pager", "aria-label": `Pages of ${what}` },
    make("p", {}, place),
    total > limit && make("div", {},
      button("Previous", Math.max(0, offset - limit), offset > 0),
      button("Next", offset + limit, end < total)));
}
