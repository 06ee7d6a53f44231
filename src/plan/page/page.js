"use strict";
// Searching, sorting and paging for the tables that hold many rows. Without this script they are plain.
const PAGE = 50;
const make = (name, text) => {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  return element;
};
const count = (number) => number.toLocaleString("en-US");

for (const table of document.querySelectorAll("table[data-rows]")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows].map((row) => {
    const cells = [...row.cells].map((cell) => cell.textContent);
    return { row, cells, text: cells.join("\n").toLowerCase() };
  });
  const isNumber = heads.map((head) => head.className === "n");
  const choiceColumn = table.dataset.choice;
  const state = { words: [], choice: "", column: -1, isDown: false, page: 0 };

  const tools = make("div");
  tools.className = "tools";
  const search = make("input");
  search.type = "search";
  const label = make("label", "Search these rows");
  label.append(search);
  tools.append(label);
  const select = make("select");
  if (choiceColumn !== undefined) {
    select.append(new Option("all", ""));
    for (const word of new Set(rows.map((row) => row.cells[choiceColumn]))) {
      select.append(new Option(word, word));
    }
    const choice = make("label", heads[choiceColumn].textContent);
    choice.append(select);
    tools.append(choice);
  }
  const back = make("button", "Previous");
  const next = make("button", "Next");
  back.type = next.type = "button";
  const said = make("span");
  said.setAttribute("role", "status");
  tools.append(back, next, said);
  table.parentElement.before(tools);

  // Amounts may be longer than a Number can hold.
  const amount = (text) => {
    const digits = text.replaceAll(",", "");
    return /^-?\d+$/.test(digits) ? BigInt(digits) : null;
  };
  const compare = (column) => (a, b) => {
    if (!isNumber[column]) return a.cells[column].localeCompare(b.cells[column], "en");
    const [x, y] = [amount(a.cells[column]), amount(b.cells[column])];
    if (x === null || y === null) return (x === null) - (y === null);
    return x < y ? -1 : x > y ? 1 : 0;
  };

  const show = () => {
    const fits = (row) =>
      (state.choice === "" || row.cells[choiceColumn] === state.choice) &&
      state.words.every((word) => row.text.includes(word));
    const found = rows.filter(fits);
    if (state.column >= 0) {
      found.sort(compare(state.column));
      if (state.isDown) found.reverse();
    }
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const start = state.page * PAGE;
    const shown = found.slice(start, start + PAGE);
    body.replaceChildren(...shown.map((row) => row.row));
    back.disabled = state.page === 0;
    next.disabled = state.page === pages - 1;
    said.textContent =
      found.length === 0
        ? "no row"
        : `rows ${count(start + 1)} to ${count(start + shown.length)} of ${count(found.length)}`;
  };

  heads.forEach((head, column) => {
    const button = make("button", head.textContent);
    button.type = "button";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      state.isDown = state.column === column ? !state.isDown : isNumber[column];
      state.column = column;
      state.page = 0;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", state.isDown ? "descending" : "ascending");
      show();
    });
  });
  search.addEventListener("input", () => {
    state.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    state.page = 0;
    show();
  });
  select.addEventListener("change", () => {
    state.choice = select.value;
    state.page = 0;
    show();
  });
  back.addEventListener("click", () => {
    state.page -= 1;
    show();
  });
  next.addEventListener("click", () => {
    state.page += 1;
    show();
  });
  show();
}
