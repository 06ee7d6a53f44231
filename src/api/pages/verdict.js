// The most important sentence, what follows from it, and the figures below.

const UNFINISHED = ["running", "interrupted", "failed"];

/** What a person should know first: `{mood, word, title, lines}`. Good news that is old is no good news. */
function judge(sources) {
  const judged = judgeAsTold(sources);
  return sources.status.stale && judged.mood === "good" ? { ...judged, mood: "warn", word: "Figures are old" } : judged;
}

function judgeAsTold({ status, preview, integrity, health, alerts }) {
  const { migration, runs } = status;
  const problematic = near(migration.problematicTokens);
  const active = runs.find((run) => run.isActive);
  const lines = [...standingOut({ status, preview, integrity, health, alerts })];
  const unspent = `${many(migration.problematicTokens, "melted token is", "melted tokens are")} still unspent`;
  const harm = overcounted(integrity);
  const harmed = harm ? `; ${amount(harm.amount)} overcounted for ${many(harm.affectedUsers, "user")}` : "";
  if (active) {
    const title = active.state === "rolling_back" ? "A repair is being rolled back." : "A repair is being applied.";
    return { mood: "busy", word: "Run under way", title, lines: [`At the latest pass ${unspent}${harmed}.`, ...lines] };
  }
  const stopped = runs.find((run) => [...UNFINISHED, "rolling_back"].includes(run.state));
  if (stopped) {
    const what = stopped.state === "rolling_back" ? "A rollback is not finished" : "A repair is not finished";
    return { mood: "bad", word: "Unfinished run", title: `${what}: ${unspent}${harmed}.`, lines };
  }
  if (isBeyondTheRule({ status, preview })) {
    return { mood: "bad", word: "A person is needed", title: `${unspent}, and the rule can't change them${harmed}.`, lines };
  }
  if (problematic > 0) {
    if (migration.isCompleted) lines.unshift("The repair was completed before: something still writes melted tokens as unspent.");
    return { mood: "bad", word: "Repair needed", title: `${unspent}${harmed}.`, lines };
  }
  if (near(status.health.totalTokens) === 0) {
    return { mood: "good", word: "Nothing to repair", title: "The ledger is empty: there is nothing to repair.", lines };
  }
  const title = near(migration.totalMeltedTokens) === 0
    ? "No token has been melted: there is nothing to repair."
    : `No melted token is unspent: ${near(migration.totalMeltedTokens) === 1 ? "the one there is" : `all ${amount(migration.totalMeltedTokens)} of them`} no longer count.`;
  if (seriousFindings(integrity).length > 0) return { mood: "warn", word: "Findings left", title, lines };
  return { mood: "good", word: migration.isCompleted ? "Repaired" : "Nothing to repair", title, lines };
}

/** Whether melted tokens are unspent, but no plan would change any. */
function isBeyondTheRule({ status, preview }) {
  return near(status.migration.problematicTokens) > 0 && preview?.stats.tokensToMigrate === 0;
}

/** What all unspent melts add up to, those that the rule can't change included. */
function overcounted(integrity) {
  return integrity?.issues.inconsistent_status ?? null;
}

/** What else stands out, most urgent first. */
function* standingOut({ status, preview, integrity, health, alerts }) {
  const unchanged = near(preview?.stats.notChanged);
  if (unchanged > 0 && !isBeyondTheRule({ status, preview })) yield `${many(unchanged, "of them", "of them")} can't be changed by the rule and want a person.`;
  const others = seriousFindings(integrity).map(([code, count]) => `${findingName(code).toLowerCase()} (${amount(count)})`);
  if (others.length > 0) yield `Also of high severity: ${others.join(", ")}.`;
  const open = (alerts?.alerts ?? []).filter((alert) => alert.state === "open" && alert.priority !== "low");
  if (open.length > 0) yield `${many(open.length, "alert")} of high or medium priority ${open.length === 1 ? "is" : "are"} open.`;
  const missing = health?.system?.missingIndexes.length ?? 0;
  if (missing > 0) yield `${many(missing, "index is", "indexes are")} missing.`;
  const { ready, reasons } = status.readiness;
  if (!ready && reasons.length > 0 && near(preview?.stats.tokensToMigrate) > 0) {
    yield `Not ready to apply: ${reasons.map(plain).join("; ")}.`;
  }
}

/** Steps, with the commands to type or where to look: `[{text, lines}]`, `[{text, leads}]`. */
function nextSteps({ status, preview }) {
  const { migration, runs } = status;
  const steps = [];
  const stopped = runs.filter((run) => !run.isActive && [...UNFINISHED, "rolling_back"].includes(run.state));
  for (const run of stopped) {
    // A command is offered for copying only if every character of the id is a harmless one.
    const id = /^[A-Za-z0-9_.-]{1,128}$/.test(run.runId) && !run.runId.startsWith("-") ? run.runId : "RUN_ID";
    if (run.state !== "rolling_back") steps.push({ text: "Finish it: the same command goes on where it was", lines: ["remelt apply plan --confirm"] });
    steps.push({ text: run.state === "rolling_back" ? "Finish the rollback" : "Or take it back", lines: [`remelt rollback ${id} --confirm`] });
  }
  if (stopped.length === 0 && runs.some((run) => run.isActive)) {
    steps.push({ text: "Wait for the run to end, then prove what it did", lines: ["remelt verify plan"] });
  } else if (stopped.length === 0 && isBeyondTheRule({ status, preview })) {
    steps.push({ text: "See which they are and why", leads: findingAddress("inconsistent_status") });
  } else if (stopped.length === 0 && migration.migrationNeeded) {
    steps.push({ text: "Make a plan and look at it (only reads)", lines: ["remelt export snapshot", "remelt analyze snapshot plan", "remelt preview plan"] });
    steps.push({ text: "Then check and apply it", lines: ["remelt validate plan", "remelt apply plan --confirm"] });
  } else if (stopped.length === 0 && migration.isCompleted) {
    steps.push({ text: "Nothing to do. To prove the repair once more", lines: ["remelt verify plan"] });
  }
  return steps;
}

function drawVerdict(sources) {
  const { mood, word, title, lines } = judge(sources);
  const steps = nextSteps(sources);
  const card = byId("verdict");
  card.className = `card verdict ${mood}${steps.length === 0 ? " alone" : ""}`;
  fill(card,
    make("div", {},
      badge(word, mood === "busy" ? "calm" : mood),
      make("h1", { id: "verdict-title" }, title),
      lines.length > 0 && make("ul", {}, lines.map((line) => make("li", {}, line)))),
    steps.length > 0 && make("div", { class: "next" },
      make("h2", {}, "Next"),
      make("ol", {}, steps.map(({ text, lines: typed, leads }) => make("li", {}, leads
        ? make("p", {}, make("a", { href: leads, "data-key": leads }, text))
        : [make("p", {}, text), command(typed, `the commands: ${text}`)])))));
  document.title = `${titleStart(sources)}remelt`;
  announce(title);
}

function titleStart({ status }) {
  if (status.runs.some((run) => run.isActive)) return "Run under way · ";
  return near(status.migration.problematicTokens) > 0 ? `${amount(status.migration.problematicTokens)} to repair · ` : "";
}

const NOT_READY = "The first pass over the ledger has not ended; there is nothing to show yet.";

/** Before the first pass has ended. */
function drawWaiting(message) {
  const card = byId("verdict");
  card.className = "card verdict busy alone";
  fill(card, make("div", {},
    badge("First pass", "calm"),
    make("h1", { id: "verdict-title" }, NOT_READY),
    make("ul", {}, make("li", {}, sentence(message)), make("li", {}, "This page fills itself as soon as the pass has ended."))));
  document.title = "First pass · remelt";
  announce(NOT_READY);
}

/** When there never was an answer. */
function drawNoAnswer(title, line) {
  const card = byId("verdict");
  card.className = "card verdict bad alone";
  fill(card, make("div", {}, badge("No answer", "bad"), make("h1", { id: "verdict-title" }, title), make("ul", {}, make("li", {}, line))));
}

function drawFigures({ status, integrity }) {
  const { migration, health } = status;
  const harm = overcounted(integrity);
  const problematic = near(migration.problematicTokens);
  const sense = problematic > 0 ? "bad" : "good";
  const figure = (name, value, note, mood = "") =>
    make("div", {}, make("dt", {}, name), make("dd", { class: `value ${mood}${value.length > 11 ? " long" : ""}` }, value), make("dd", { class: "note" }, note));
  const summary = integrity?.summary;
  fill(byId("figures"),
    figure("Problematic tokens", amount(migration.problematicTokens), `of ${amount(migration.totalMeltedTokens)} melted`, sense),
    figure("Overcounted", amount(harm?.amount), harm ? `for ${many(harm.affectedUsers, "user")}` : "", near(harm?.amount) > 0 ? "bad" : ""),
    figure("Health score", percent(health.healthScore), "melted tokens in order", sense),
    figure("Findings", amount(summary?.totalIssues), summary ? `${amount(summary.high)} high · ${amount(summary.medium)} medium` : "", problematic > 0 || seriousFindings(integrity).length > 0 ? "bad" : near(summary?.medium) > 0 ? "warn" : summary ? "good" : ""),
    figure("Tokens", amount(health.totalTokens), `${amount(migration.spentMeltedTokens)} melted and spent`),
    figure("Users", amount(health.totalUsers), `${many(health.totalWallets, "wallet")}`));
}
