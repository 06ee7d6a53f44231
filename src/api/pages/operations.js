// Alerts, runs, the repair's readiness and the system under it.

function drawAlerts({ alerts }) {
  const open = alerts.filter((alert) => alert.state === "open").sort((a, b) => SEVERITIES.indexOf(a.priority) - SEVERITIES.indexOf(b.priority));
  const past = alerts.filter((alert) => alert.state !== "open");
  byId("alerts-note").textContent = open.length === 0 ? "" : `${amount(open.length)} open`;
  fill(byId("alerts-body"),
    open.length === 0
      ? make("p", { class: "nothing" }, "No alert is open.")
      : make("div", { class: "roomy", tabindex: "0", role: "region", "aria-label": "Open alerts" }, make("ul", { class: "alerts" }, open.map(alertItem))),
    past.length > 0 && make("details", { "data-key": "history" },
      make("summary", {}, `History (${amount(past.length)})`),
      make("ul", { class: "alerts" }, past.slice(0, 100).map(alertItem)),
      past.length > 100 && make("p", { class: "quiet small" }, "The newest 100 are shown; /admin/alerts has all.")));
}

function alertItem(alert) {
  const isOpen = alert.state === "open";
  const times = near(alert.times) > 1 ? `, in ${amount(alert.times)} passes` : "";
  return make("li", {},
    make("div", { class: "head" }, severityBadge(alert.priority), make("h3", {}, plain(alert.title))),
    make("p", {}, sentence(alert.detail)),
    isOpen && alert.action && make("p", {}, make("strong", {}, "Do: "), sentence(alert.action)),
    make("p", { class: "quiet" },
      isOpen ? ["since ", moment(alert.openedAt), times] : [moment(alert.openedAt), " to ", moment(alert.resolvedAt), times]));
}

/** Alerts that were not open before are said aloud. */
function announceAlerts(before, { alerts }) {
  const known = new Set((before?.alerts ?? []).filter((alert) => alert.state === "open").map((alert) => alert.id));
  const fresh = alerts.filter((alert) => alert.state === "open" && alert.priority !== "low" && !known.has(alert.id));
  if (before && fresh.length > 0) announce(`New alert: ${fresh.map((alert) => plain(alert.title)).join("; ")}`);
}

const RUN_MOODS = { completed: "good", rolled_back: "calm", failed: "bad", interrupted: "warn" };

function runBadge(run) {
  if (run.isActive) return badge(`${words(run.state)} now`, "calm");
  const isLeft = run.state === "running" || run.state === "rolling_back";
  return badge(isLeft ? `${words(run.state)}, but nobody works on it` : words(run.state), isLeft ? "bad" : RUN_MOODS[run.state] ?? "calm");
}

function drawRuns({ runs }) {
  fill(byId("runs-body"), runs.length === 0
    ? make("p", { class: "nothing" }, "No repair was ever applied here.")
    : make("ul", { class: "alerts" }, runs.map((run) => make("li", {},
      make("div", { class: "head" }, runBadge(run), make("code", {}, quoted(run.runId, 14))),
      make("p", {}, outcome(run)),
      run.error && make("p", { class: "fault" }, sentence(run.error)),
      make("p", { class: "quiet" }, "begun ", moment(run.startedAt), ", last heard of ", moment(run.updatedAt))))));
}

function outcome(run) {
  const parts = [`${many(run.changes, "change")} in ${many(run.batches, "batch", "batches")}`];
  if (run.applied !== null && run.applied !== undefined) parts.push(`${amount(run.applied)} applied`);
  if (run.restored !== null && run.restored !== undefined) parts.push(`${amount(run.restored)} restored`);
  if (near(run.drifted) > 0) parts.push(`${amount(run.drifted)} left alone because they had changed`);
  return parts.join(", ");
}

/** A run at work, as it goes. */
function drawProgress(run) {
  const host = byId("progress");
  if (!run) {
    fill(host);
    return;
  }
  const known = run.progress;
  const done = known ? near(known.done) : null;
  const all = near(known?.changes ?? run.changes);
  const isBack = run.state === "rolling_back";
  const label = isBack ? "Rollback under way" : "Repair under way";
  const number = (value, what) => make("span", {}, make("strong", {}, value), ` ${what}`);
  fill(host, make("section", { class: "card run", "aria-labelledby": "run-title" },
    make("header", {}, make("h2", { id: "run-title" }, label), make("p", {}, make("code", {}, quoted(run.runId, 14)))),
    make("progress", { max: Math.max(1, all), value: done, "aria-label": label }),
    make("div", { class: "numbers" },
      known && make("span", {}, words(known.step)),
      known && typeof known.fraction === "number" && number(percent(known.fraction), "done"),
      known && number(`${amount(known.done)} of ${amount(known.changes)}`, "documents"),
      known && typeof known.documentsPerSecond === "number" && number(amount(known.documentsPerSecond), "a second"),
      known && typeof known.etaSeconds === "number" && number(span(known.etaSeconds), "left"),
      !known && make("span", {}, "It has not said yet how far it is."))));
}

function drawRepair({ status, preview, health }, validation, validate) {
  const { migration, readiness, lastSnapshot } = status;
  const busy = validation?.state === "asked";
  fill(byId("repair-body"),
    pairs([
      ["State", words(migration.state)],
      ["Completed", migration.isCompleted ? "Yes" : "No"],
      ["Needed", migration.migrationNeeded ? "Yes" : "No"],
      preview && ["Tokens to change", [amount(preview.stats.tokensToMigrate), near(preview.stats.notChanged) > 0 && make("small", {}, `${amount(preview.stats.notChanged)} more can't be changed`)]],
      preview && ["Estimated time", [plain(preview.stats.estimatedExecutionTime ?? "not measured"), preview.stats.estimateBasis && make("small", {}, plain(preview.stats.estimateBasis))]],
      readiness && ["Ready to apply", [badge(readiness.ready ? "Ready" : "Not ready", readiness.ready ? "good" : "warn"), readiness.reasons.map((reason) => make("small", {}, sentence(reason)))]],
      ["Last snapshot", lastSnapshot
        ? [`${many(lastSnapshot.documents, "document")}, ${bytes(lastSnapshot.bytes)}`,
          make("small", { class: "mono", title: plain(lastSnapshot.sha256) }, shortened(lastSnapshot.sha256, 8)),
          make("small", {}, `consistency: ${plain(lastSnapshot.consistency)}`)]
        : "None"],
      movementSince(health),
    ]),
    make("p", {}, make("button", { type: "button", "data-key": "validate", disabled: busy, on: { click: validate } }, busy ? "Checking…" : "Check every prerequisite now")),
    validation && validationResult(validation));
}

function drawAdvice({ recommendations }) {
  fill(byId("advice-body"), recommendations.length === 0
    ? make("p", { class: "nothing" }, "Nothing to recommend.")
    : make("ul", { class: "alerts" }, recommendations.map((one) => make("li", {},
      make("div", { class: "head" }, severityBadge(one.priority), make("h3", {}, plain(one.message))),
      one.action && make("p", {}, make("strong", {}, "Do: "), sentence(one.action))))));
}

function movementSince(health) {
  if (!health?.movement) return null;
  const { available, reason, since, inserted, updated, deleted, newProblematic } = health.movement;
  if (!available) return ["Between passes", make("span", { class: "quiet" }, plain(reason ?? "not watched"))];
  return ["Since the pass", [
    `${amount(inserted)} new, ${amount(updated)} changed, ${amount(deleted)} deleted`,
    make("small", {}, near(newProblematic) > 0 ? make("span", { class: "loss" }, `${amount(newProblematic)} newly problematic`) : "none newly problematic", instant(since) !== null && [" since ", moment(since, timeOfDay)]),
  ]];
}

function validationResult({ state, data, message }) {
  if (state === "asked") return make("p", { class: "quiet", role: "status" }, "Measuring; this can take some seconds.");
  if (state === "failed") return make("p", { class: "fault", role: "alert" }, sentence(message));
  const verdict = data.isValid ? badge("Every prerequisite is met", "good") : badge("Not ready", "bad");
  return make("div", { role: "status" },
    make("p", {}, verdict, " ", make("span", { class: "quiet small" }, "at ", moment(data.timestamp, timeOfDay))),
    make("ul", { class: "alerts" },
      data.checks.map((check) => make("li", {},
        make("div", { class: "head" }, badge(words(check.result), MOODS[check.result] ?? "calm"), make("h3", {}, words(check.name))),
        make("p", {}, sentence(check.detail)),
        check.action && check.result !== "pass" && make("p", {}, make("strong", {}, "Do: "), sentence(check.action)))),
      data.riskFactors.map((risk) => make("li", {},
        make("div", { class: "head" }, severityBadge(risk.level), make("h3", {}, `Risk: ${plain(risk.factor)}`)),
        make("p", {}, sentence(risk.mitigation))))),
    make("p", { class: "quiet small" }, `Estimated time: ${plain(data.estimatedExecutionTime ?? "not measured")}`, data.estimateBasis && ` (${plain(data.estimateBasis)})`));
}

const HEALTH_MOODS = { healthy: "good", degraded: "warn", unhealthy: "bad" };

function drawSystem(health) {
  const { system, faults, recentErrors } = health;
  fill(byId("system-note"), badge(words(health.status), HEALTH_MOODS[health.status] ?? "calm"));
  fill(byId("system-body"),
    faults.length > 0 && make("ul", { class: "alerts" }, faults.map((fault) => make("li", {}, make("p", {}, sentence(fault))))),
    make("div", { class: "grid even" },
      make("div", {}, make("h3", {}, "Database"), system ? databaseFacts(system) : make("p", { class: "nothing" }, "It was never reached.")),
      make("div", {}, make("h3", {}, "Monitoring"), passFacts(health.pass))),
    recentErrors.length > 0 && make("details", { "data-key": "errors" },
      make("summary", {}, `Recent errors (${amount(recentErrors.length)})`),
      tall("Recent errors", table({
        caption: "Recent errors",
        columns: [
          { label: "At", cell: (one) => moment(one.at) },
          { label: "What", cell: (one) => plain(one.what) },
          { label: "Message", is: "long", cell: (one) => sentence(one.message) },
        ],
        rows: recentErrors,
      }))),
    system && storageDetails(system),
    system?.notes.length > 0 && make("details", { "data-key": "notes" },
      make("summary", {}, "What could not be asked"),
      make("ul", { class: "alerts" }, system.notes.map((note) => make("li", {}, make("p", {}, sentence(note)))))));
}

function databaseFacts({ connection, database, replication }) {
  return pairs([
    ["Connection", connection.ok ? `answers in ${amount(connection.pingMs)} ms` : make("span", { class: "loss" }, "no answer")],
    ["Server", [`MongoDB ${plain(connection.serverVersion)}`, make("small", {}, plain(connection.hosts))]],
    ["Replica set", plain(connection.replicaSet ?? "none")],
    ["Replication lag", replicationWords(replication)],
    ["Data", [bytes(database.dataBytes), make("small", {}, `${bytes(database.storageBytes)} on disk, ${bytes(database.indexBytes)} of indexes`)]],
  ]);
}

function passFacts(pass) {
  return pairs([
    ["Passes", amount(pass.number)],
    ["The latest took", [span(pass.seconds), pass.bytes !== null && make("small", {}, `${bytes(pass.bytes)}, ${amount(pass.documentsPerSecond)} documents a second`)]],
    ["Begun", moment(pass.beganAt)],
    ["Next", moment(pass.nextAt)],
    ["Failures in a row", near(pass.failuresInARow) > 0 ? make("span", { class: "loss" }, amount(pass.failuresInARow)) : "0"],
  ]);
}

function storageDetails({ collections, indexes }) {
  return make("details", { "data-key": "collections" },
    make("summary", {}, "Collections and indexes"),
    table({
      caption: "Collections",
      isCaptionSeen: true,
      columns: [
        { label: "Collection", cell: (one) => make("code", {}, quoted(one.name)) },
        { label: "Documents", is: "number", cell: (one) => amount(one.documents) },
        { label: "Data", is: "number", cell: (one) => bytes(one.dataBytes) },
        { label: "On disk", is: "number", cell: (one) => bytes(one.storageBytes) },
        { label: "Indexes", is: "number", cell: (one) => bytes(one.indexBytes) },
      ],
      rows: collections,
    }),
    indexes.length > 0 && table({
      caption: "Indexes, and how often each was used",
      isCaptionSeen: true,
      columns: [
        { label: "Index", cell: (one) => make("code", {}, quoted(one.name)) },
        { label: "Collection", cell: (one) => quoted(one.collection) },
        { label: "Keys", cell: (one) => keysOf(one) },
        { label: "Used", is: "number", cell: (one) => amount(one.operations) },
        { label: "Since", cell: (one) => moment(one.since) },
      ],
      rows: indexes,
    }));
}

function keysOf({ keys }) {
  return keys.map(plain).join(", ");
}

function replicationWords(replication) {
  if (!replication) return "not known";
  const members = replication.members.map(({ host, state, isHealthy, lagSeconds }) => make("small", {},
    `${plain(host)}: ${isHealthy ? plain(state).toLowerCase() : "down"}${near(lagSeconds) > 0 ? `, ${span(lagSeconds)} behind` : ""}`));
  return [span(replication.lagSecondsMax), members];
}
