// The trend, the impact by day and by user, and the balances.

function drawTrend({ points }) {
  const body = byId("trend-body");
  if (points.length === 0) {
    byId("trend-note").textContent = "";
    fill(body, make("p", { class: "nothing" }, "The line begins with the first pass."));
    return;
  }
  const counts = points.map((point) => near(point.problematicTokens));
  const [first, last] = [counts[0], counts.at(-1)];
  const movement = counts.length === 1 ? `${amount(last)} in the only pass so far` : last === first ? `${amount(last)} throughout` : `${amount(first)} at first, ${amount(last)} now`;
  const isSteady = Math.min(...counts) === Math.max(...counts);
  const summary = isSteady ? movement : `${movement}; between ${amount(Math.min(...counts))} and ${amount(Math.max(...counts))}`;
  byId("trend-note").textContent = `${many(points.length, "pass", "passes")} since ${dateAndTime(points[0].at)}`;
  const { readout, host } = chartPlace(`Problematic tokens over time: ${summary}`);
  fill(body, readout, host, recentPasses(points));
  lineChart({
    host,
    readout,
    height: 250,
    points: points.map((point) => ({ at: instant(point.at), value: near(point.problematicTokens) })),
    tell: (index) => (index === null
      ? [summary]
      : [make("strong", {}, amount(points[index].problematicTokens)), ` of ${amount(points[index].totalMeltedTokens)} melted, ${amount(points[index].amountAffected)} overcounted, at ${dateAndTime(points[index].at)}`]),
  });
}

function recentPasses(points) {
  const rows = points.slice(-20).reverse();
  return make("details", { "data-key": "passes" },
    make("summary", {}, rows.length === 1 ? "The pass as a table" : `The newest ${rows.length} passes as a table`),
    tall("The newest passes", table({
      caption: "The newest passes",
      columns: [
        { label: "Ended", cell: (point) => moment(point.at) },
        { label: "Problematic", is: "number", cell: (point) => amount(point.problematicTokens) },
        { label: "Melted", is: "number", cell: (point) => amount(point.totalMeltedTokens) },
        { label: "Tokens", is: "number", cell: (point) => amount(point.totalTokens) },
        { label: "Overcounted", is: "number", cell: (point) => amount(point.amountAffected) },
        { label: "Health score", is: "number", cell: (point) => percent(point.healthScore) },
        { label: "Took", is: "number", cell: (point) => span(point.seconds) },
      ],
      rows,
    })));
}

const COLUMNS_MAX = 92;

/** Days, or months if there are too many days to tell apart. */
function gathered(days) {
  const whole = days.map(({ day, tokenCount, totalAmount }) => ({ day, tokenCount: integer(tokenCount) ?? 0n, totalAmount: integer(totalAmount) ?? 0n }));
  if (whole.length <= COLUMNS_MAX) return whole;
  const months = new Map();
  for (const one of whole) {
    const month = /^\d{4,}-\d\d-\d\d$/.test(one.day) ? one.day.slice(0, -3) : one.day;
    const sum = months.get(month) ?? { day: month, tokenCount: 0n, totalAmount: 0n };
    sum.tokenCount += one.tokenCount;
    sum.totalAmount += one.totalAmount;
    months.set(month, sum);
  }
  return [...months.values()].slice(-COLUMNS_MAX);
}

function dayLabel(day) {
  const at = /^\d{4}-\d\d-\d\d$/.test(day) ? new Date(`${day}T12:00:00`) : null;
  return at === null || Number.isNaN(at.getTime()) ? plain(day) : shortDay.format(at);
}

function drawImpact({ days, topUsers, amounts, stats }) {
  const dayBody = byId("days-body");
  const topBody = byId("top-body");
  if (near(stats.tokensToMigrate) === 0) {
    fill(dayBody, make("p", { class: "nothing" }, "No token would change."));
    fill(topBody, make("p", { class: "nothing" }, "No balance would change."));
    return;
  }
  const columns = gathered(days);
  const largest = columns.reduce((best, one) => (one.tokenCount > best.tokenCount ? one : best), columns[0]);
  const isByMonth = days.length > COLUMNS_MAX;
  const most = `${plain(largest?.day)}: ${many(largest?.tokenCount ?? 0n, "token")}`;
  const summary = columns.length === 0 ? "" : isByMonth ? `A column is a month. Most in ${most}` : `Most on ${most}`;
  const { readout, host } = chartPlace(`Tokens to repair by day. ${summary}`);
  fill(dayBody, readout, host, make("details", { "data-key": "days" },
    make("summary", {}, "All days as a table"),
    tall("Tokens to repair by day", table({
      caption: "Tokens to repair by the day they were created",
      columns: [
        { label: "Day", cell: (one) => plain(one.day) },
        { label: "Tokens", is: "number", cell: (one) => amount(one.tokenCount) },
        { label: "Amount", is: "number", cell: (one) => amount(one.totalAmount) },
      ],
      rows: days,
    }))));
  if (columns.length > 0) {
    columnChart({
      host,
      readout,
      height: 310,
      columns: columns.map((one) => ({ label: dayLabel(one.day), value: Number(one.tokenCount) })),
      tell: (index) => (index === null
        ? [summary]
        : [make("strong", {}, many(columns[index].tokenCount, "token")), `, ${amount(columns[index].totalAmount)} overcounted, ${isByMonth ? "in" : "on"} ${plain(columns[index].day)}`]),
    });
  }
  fill(topBody,
    bars(topUsers.map((one) => ({
      name: userLink(one.npub),
      worth: [amount(one.totalAmount), " ", make("small", {}, `in ${many(one.tokenCount, "token")}`)],
      value: near(one.totalAmount),
    }))),
    (amounts ?? []).length > 0 && make("details", { "data-key": "amounts" },
      make("summary", {}, "By size of the tokens"),
      bars(amounts.map((one) => ({ name: plain(one.range), worth: [amount(one.count)], value: near(one.count) })))));
}

const USERS_LIMIT = matchMedia("(max-width: 700px)").matches ? 10 : 20;

/** Which page of the users is wanted. */
const usersPage = { offset: 0, npub: "", onlyIssues: true };

function usersAddress() {
  const query = new URLSearchParams({ limit: USERS_LIMIT, offset: usersPage.offset });
  if (usersPage.npub) query.set("npub", usersPage.npub);
  if (usersPage.onlyIssues) query.set("onlyIssues", "true");
  return `/admin/health/balance-consistency?${query}`;
}

const ISSUES = {
  problematicMeltedTokens: (value) => `${amount(value)} melted, yet unspent`,
  negativeBalances: (value) => many(value, "negative balance"),
  doubleCounted: (value) => `${amount(value)} double-counted`,
  invalidAmounts: (value) => many(value, "invalid amount"),
  amountMismatch: (value) => many(value, "wrong total"),
};

function issueWords(issues) {
  return Object.entries(issues ?? {})
    .filter(([, value]) => near(value) !== 0)
    .map(([name, value]) => ISSUES[name]?.(value) ?? `${words(name)}: ${amount(value)}`)
    .join(", ");
}

function drawUsers({ totalUsers, matchingUsers, checkedUsers, issues, summary, limit, offset }, reload) {
  byId("users-note").textContent = `${many(totalUsers, "user")} checked, ${amount(summary.usersWithIssues)} with issues`;
  const isFiltered = usersPage.npub !== "";
  const nobody = isFiltered ? "No such user." : usersPage.onlyIssues ? "Every user's balance is consistent." : "There is no user.";
  const turn = (to) => {
    usersPage.offset = to;
    reload();
  };
  fill(byId("users-body"),
    issues.length === 0
      ? make("p", { class: "nothing" }, near(matchingUsers) === 0 ? nobody : "Nobody on this page has an issue.")
      : table({
        caption: "Users with issues, and their unspent balance before and after the repair",
        columns: [
          { label: "User", cell: (one) => userLink(one.npub) },
          { label: "Issues", cell: (one) => issueWords(one.issues) },
          { label: "Unspent now", is: "number", cell: (one) => amount(one.unspentBefore) },
          { label: "After the repair", is: "number", cell: (one) => amount(one.unspentAfter) },
          { label: "Difference", is: "number", cell: (one) => (near(one.delta) < 0 ? make("span", { class: "loss" }, signed(one.delta)) : signed(one.delta)) },
        ],
        rows: issues,
      }),
    pager({ offset, limit, shown: near(checkedUsers), total: near(matchingUsers), what: usersPage.onlyIssues ? "balances with issues" : "balances", turn }));
}

function startUsersFilter(reload) {
  const apply = () => {
    usersPage.npub = byId("users-npub").value.trim();
    usersPage.onlyIssues = byId("users-issues").checked;
    usersPage.offset = 0;
    reload();
  };
  let typing = null;
  byId("users-filter").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    apply();
  });
  byId("users-npub").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(apply, 350);
  });
  byId("users-issues").addEventListener("change", apply);
}
