// What each finding means to a person. The exact definitions stand in docs/findings.md.

const FINDINGS = {
  inconsistent_status: ["Melted, yet unspent", "Paid out over Lightning, but still counted in the balance.", "remelt repairs these: export, analyze, apply."],
  duplicate_secrets: ["Repeated secret", "One proof secret stands in more than one proof. Copies that are all spent are harmless.", "Look at the classes: only double-counted and cross-user copies need a person."],
  orphaned_tokens: ["No wallet", "The token names no wallet, or one that does not exist.", "Find out which wallet it belonged to; nothing is changed by itself."],
  invalid_amounts: ["Amount is no amount", "The total is negative, absent, or not a whole number; it counts as nothing unless negative.", "Compare with the proofs' own amounts."],
  missing_metadata: ["No source noted", "The token does not say where it came from.", "Harmless for balances."],
  negative_balance: ["Balance below zero", "A user's tokens at a mint add up to less than nothing.", "Look at the user's tokens with invalid amounts first."],
  amount_mismatch: ["Total is not the sum", "The total differs from the sum of the proofs.", "The proofs are what the mint knows; compare with them."],
  double_counted: ["Money counted twice", "A secret can be spent here and is spent or spendable elsewhere: this money is not there.", "Check the secrets with the mint; remelt never guesses which copy is real."],
  spent_at_mismatch: ["Spent without a date", "Spent without a date of spending, or dated without being spent.", "Harmless for balances."],
  unknown_status: ["Unknown status or type", "The status or the type is none of the known words.", "Find the program that writes it."],
  duplicate_transaction_id: ["Transaction twice", "Several tokens bear one transaction id.", "Check that the unique index on transaction_id exists."],
  wallet_mismatch: ["Wallet of someone else", "The token's user or mint is not its wallet's.", "Find out whose it is before anything is paid out."],
  duplicate_field: ["Field twice in a document", "A field that the repair changes occurs twice; such a document is never written.", "Rewrite the document by hand; writing only the field can take a replica set apart."],
  malformed_npub: ["Malformed user key", "The user is no valid npub.", "Find the program that writes it."],
  missing_change: ["Change unaccounted for", "A payment took more than the invoice and the fee reserve, and no change came back.", "Ask the mint for the change of these payments."],
};

function findingName(code) {
  return FINDINGS[code]?.[0] ?? words(code);
}

function findingMeaning(code) {
  return FINDINGS[code]?.[1] ?? "";
}

function findingAdvice(code) {
  return FINDINGS[code]?.[2] ?? "";
}

const SEVERITIES = ["high", "medium", "low"];

function byUrgency(a, b) {
  return SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity);
}

const findingAddress = (code) => `#/findings/${encodeURIComponent(code)}`;
const userAddress = (npub) => `#/users/${encodeURIComponent(npub)}`;

/** A user's name, leading to the user. */
function userLink(npub, ends = 10) {
  if (!npub) return make("span", { class: "quiet" }, "no user");
  return make("a", { href: userAddress(npub.toWellFormed()), title: plain(npub), class: "mono", "data-key": `user ${npub}` }, make("bdi", {}, shortened(npub, ends)));
}

function quoted(text, ends = null) {
  if (text === null || text === undefined || text === "") return NOTHING;
  return make("bdi", { class: "break", title: ends ? plain(text) : null }, ends ? shortened(text, ends) : plain(text));
}

/** How many findings of a code want a person: copies of a secret that are all spent are how every melt was stored. */
function weighty(issue) {
  return near(issue.count) - near(issue.classes?.benign_copy);
}

/** What else of high severity there is, beside what the repair fixes: `[[code, count]]`. */
function seriousFindings(integrity) {
  return Object.entries(integrity?.issues ?? {})
    .filter(([code, issue]) => code !== "inconsistent_status" && issue?.severity === "high" && weighty(issue) > 0)
    .map(([code, issue]) => [code, weighty(issue)]);
}

/** What the classes of a finding are, after a number. */
const CLASSES = {
  benign_copy: "harmless",
  double_counted: "counted twice",
  cross_user: "across users",
  missing_wallet_id: "without a wallet's id",
  dangling_wallet_id: "with a wallet that is gone",
};

/** Whether a check could not be made, or not for all of its classes: both need the wallets. */
function isUnknown({ count, classes }) {
  return count === null || Object.values(classes ?? {}).includes(null);
}

/** The cards of `/admin/health/token-integrity`. */
function drawFindings(integrity) {
  const all = Object.entries(integrity.issues).map(([code, issue]) => ({ code, count: null, ...issue }));
  const found = all.filter((issue) => near(issue.count) > 0).sort(byUrgency);
  const clear = all.filter((issue) => near(issue.count) === 0);
  const { totalIssues, high, medium, low } = integrity.summary;
  byId("findings-note").textContent = near(totalIssues) === 0
    ? `in ${many(integrity.totalTokens, "token")}`
    : `${amount(totalIssues)} in ${many(integrity.totalTokens, "token")}: ${amount(high)} high, ${amount(medium)} medium, ${amount(low)} low`;
  fill(byId("findings-body"),
    found.length === 0 && make("p", { class: "nothing" }, "No check found anything."),
    found.length > 0 && make("ul", { class: "cards" }, found.map(findingCard)),
    found.length > 0 && clear.length > 0 && make("h3", { class: "clear-title" }, "Checks that found nothing"),
    clear.length > 0 && make("ul", { class: "clear" }, clear.map((issue) => isUnknown(issue)
      ? make("li", { class: "unknown" }, `${findingName(issue.code)}: can't be told`)
      : make("li", {}, findingName(issue.code)))));
}

function findingCard({ code, count, severity, amount: sum, affectedUsers, classes }) {
  const parts = [
    sum !== null && sum !== undefined && `amount ${amount(sum)}`,
    affectedUsers !== null && affectedUsers !== undefined && many(affectedUsers, "user"),
    ...Object.entries(classes ?? {}).filter(([, n]) => near(n) > 0).map(([name, n]) => `${amount(n)} ${CLASSES[name] ?? words(name).toLowerCase()}`),
  ].filter(Boolean);
  return make("li", {}, make("a", { href: findingAddress(code), "data-key": `finding ${code}` },
    make("span", { class: "name" }, findingName(code)),
    make("span", { class: "total" }, amount(count)),
    make("span", { class: "what" }, findingMeaning(code)),
    make("span", { class: "more" }, severityBadge(severity), make("span", {}, parts.join(" · ")))));
}

/** The rows of `/admin/findings`; `isOfUser` leaves out the user. */
function findingsTable(findings, { caption, isOfUser = false, isOfCode = false }) {
  return table({
    caption,
    columns: [
      { label: "Token", cell: (one) => (one.tokenId ? make("code", {}, quoted(one.tokenId, 13)) : NOTHING) },
      !isOfCode && { label: "Finding", cell: (one) => make("a", { href: findingAddress(one.code) }, findingName(one.code)) },
      !isOfUser && { label: "User", cell: (one) => userLink(one.npub, 8) },
      { label: "Mint", is: "address", cell: (one) => quoted(one.mintUrl) },
      { label: "Amount", is: "number", cell: (one) => amount(one.amount) },
      { label: "Detail", is: "long", cell: (one) => quoted(one.detail) },
    ].filter(Boolean),
    rows: findings,
  });
}
