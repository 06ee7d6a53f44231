// The drill-down: the findings of a code, and everything about a user. Its address stands after the `#`, so the browser's
// own ways back lead out of it.

const PAGE_LIMIT = 50;

const drawer = {
  node: null,
  what: null,
  /** What the page asks for: filters and place. */
  page: { offset: 0, npub: "" },
  asked: null,
};

function startDrawer() {
  drawer.node = byId("drawer");
  byId("drawer-close").addEventListener("click", closeDrawer);
  drawer.node.addEventListener("cancel", (event) => {
    event.preventDefault();
    closeDrawer();
  });
  drawer.node.addEventListener("click", (event) => {
    if (event.target === drawer.node) closeDrawer();
  });
  addEventListener("hashchange", route);
}

function closeDrawer() {
  history.pushState(null, "", location.pathname);
  route();
}

/** Opens what the address names, or closes. */
function route() {
  const [, kind, name] = /^#\/(findings|users)\/(.+)$/.exec(location.hash) ?? [];
  let target = null;
  try {
    target = kind ? { kind, name: decodeURIComponent(name) } : null;
  } catch {
    // Not an address of ours.
  }
  if (!target || !isSignedIn()) {
    drawer.what = null;
    drawer.asked?.abort();
    if (drawer.node.open) drawer.node.close();
    return;
  }
  drawer.what = target;
  drawer.page = { offset: 0, npub: "" };
  byId("drawer-title").textContent = "";
  fill(byId("drawer-lead"));
  fill(byId("drawer-body"), make("p", { class: "quiet" }, "Loading…"));
  if (!drawer.node.open) drawer.node.showModal();
  drawer.node.scrollTop = 0;
  loadDrawer().then(() => byId("drawer-title").focus());
}

/** Asks for what the drawer shows, again or for the first time. */
async function loadDrawer() {
  const { what, page } = drawer;
  if (!what) return;
  drawer.asked?.abort();
  drawer.asked = new AbortController();
  const { signal } = drawer.asked;
  try {
    if (what.kind === "users") drawUser(await ask(`/admin/users/${encodeURIComponent(what.name)}`, { signal }));
    else drawCode(what.name, await ask(codeAddress(what.name, page), { signal }));
  } catch (problem) {
    if (signal.aborted) return;
    if (problem.kind === "unauthorized") {
      signOut(problem.message);
      return;
    }
    byId("drawer-title").textContent = problem.kind === "absent" ? "Not found" : "Could not be loaded";
    fill(byId("drawer-body"), make("p", {}, sentence(problem.message)), make("p", {}, make("button", { type: "button", on: { click: loadDrawer } }, "Try again")));
  }
}

function codeAddress(code, { offset, npub }) {
  const query = new URLSearchParams({ code, limit: PAGE_LIMIT, offset });
  if (npub) query.set("npub", npub);
  return `/admin/findings?${query}`;
}

function drawCode(code, { total, findings, limit, offset }) {
  byId("drawer-title").textContent = findingName(code);
  fill(byId("drawer-lead"), make("p", {}, findingMeaning(code)), make("p", {}, make("strong", {}, "Do: "), findingAdvice(code)), make("p", { class: "quiet small" }, "Code ", make("code", {}, plain(code))));
  const field = make("input", { type: "search", id: "findings-npub", value: drawer.page.npub, placeholder: "npub1", autocomplete: "off", autocapitalize: "off", spellcheck: "false", "data-key": "findings-npub" });
  const filter = make("form", { class: "filter", role: "search", "aria-label": "Filter the findings", on: { submit: (event) => {
    event.preventDefault();
    drawer.page = { offset: 0, npub: field.value.trim() };
    loadDrawer();
  } } }, make("div", {}, make("label", { for: "findings-npub" }, "User begins with"), field), make("button", { type: "submit", "data-key": "filter" }, "Filter"));
  fill(byId("drawer-body"),
    filter,
    findings.length === 0 ? make("p", { class: "nothing" }, "Nothing found.") : findingsTable(findings, { caption: findingName(code), isOfCode: true }),
    pager({ offset, limit, shown: findings.length, total: near(total), what: "findings", turn: (to) => {
      drawer.page.offset = to;
      loadDrawer().then(() => { drawer.node.scrollTop = 0; });
    } }));
}

function drawUser({ npub, mints, totals, issues, findings, findingsTotal }) {
  byId("drawer-title").textContent = "User";
  fill(byId("drawer-lead"), make("div", { class: "command wraps" }, make("pre", {}, make("bdi", {}, plain(npub))), copyButton(plain(npub), "the user's key")));
  const sum = (name, value) => make("div", {}, make("dt", {}, name), make("dd", {}, value));
  const counted = Object.entries(issues ?? {}).filter(([, count]) => near(count) > 0);
  fill(byId("drawer-body"),
    make("dl", { class: "sums" },
      sum("Unspent now", amount(totals.unspentBefore)),
      sum("After the repair", amount(totals.unspentAfter)),
      sum("Difference", near(totals.delta) < 0 ? make("span", { class: "loss" }, signed(totals.delta)) : signed(totals.delta)),
      sum("Tokens to fix", amount(totals.tokensFixed))),
    make("h3", {}, "Balances by mint"),
    table({
      caption: "Balances by mint, before and after the repair",
      columns: [
        { label: "Mint", cell: (one) => quoted(one.mintUrl) },
        { label: "To fix", is: "number", cell: (one) => amount(one.tokensFixed) },
        { label: "Unspent now", is: "number", cell: (one) => amount(one.unspentBefore) },
        { label: "Unspent after", is: "number", cell: (one) => amount(one.unspentAfter) },
        { label: "Pending", is: "number", cell: (one) => amount(one.pending) },
        { label: "Spent now", is: "number", cell: (one) => amount(one.spentBefore) },
        { label: "Spent after", is: "number", cell: (one) => amount(one.spentAfter) },
        { label: "Difference", is: "number", cell: (one) => signed(one.delta) },
      ],
      rows: mints,
    }),
    make("h3", {}, `Findings (${amount(findingsTotal)})`),
    counted.length > 0 && make("p", { class: "quiet" }, counted.map(([code, count]) => `${findingName(code)}: ${amount(count)}`).join(" · ")),
    findings.length === 0 ? make("p", { class: "nothing" }, "Nothing was found about this user.") : findingsTable(findings, { caption: "Findings of this user", isOfUser: true }),
    near(findingsTotal) > findings.length && make("p", { class: "quiet small" }, `The first ${amount(findings.length)} are shown.`));
}
