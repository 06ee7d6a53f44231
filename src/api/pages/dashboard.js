// The page itself: signing in, staying in touch with the server, drawing what came.

/** What is asked for, and where. */
const SOURCES = {
  status: () => "/admin/migration/status",
  preview: () => "/admin/migration/preview?limit=1",
  health: () => "/admin/health",
  integrity: () => "/admin/health/token-integrity",
  trend: () => "/admin/trend",
  alerts: () => "/admin/alerts?state=all",
  users: usersAddress,
};

/** What an event of `/admin/events` makes old. */
const MADE_OLD = { pass: Object.keys(SOURCES), alerts: ["alerts"], runs: ["status"], health: ["health", "status"] };

const RETRY_SECONDS = [1, 2, 5, 10, 20, 30];
const HIDDEN_SECONDS = 60;

const state = { sources: {}, faults: {}, validation: null };

/** Ends everything that goes on for the present token. */
let stay = null;

function isSignedIn() {
  return stay !== null;
}

function signIn() {
  stay = new AbortController();
  byId("entry").hidden = true;
  for (const id of ["dashboard", "pulse", "forget"]) byId(id).hidden = false;
  follow(stay.signal);
  tick();
  route();
}

/** Forgets the token and everything that was shown with it: all that the server told stands in `data-told`. */
function signOut(fault = "") {
  stay?.abort();
  stay = null;
  forget(TOKEN);
  remembered.clear();
  Object.assign(state, { sources: {}, faults: {}, validation: null });
  for (const id of ["dashboard", "content", "pulse", "forget", "jumps", "footer"]) byId(id).hidden = true;
  for (const place of document.querySelectorAll("[data-told]")) place.replaceChildren();
  document.title = "remelt";
  route();
  askForToken(signIn, fault);
}

/** Loads, listens, and begins anew whenever the connection ends: so polling is what is left when nothing can be streamed. */
async function follow(signal) {
  for (let failures = 0; !signal.aborted; failures += 1) {
    let wait = RETRY_SECONDS[Math.min(failures, RETRY_SECONDS.length - 1)];
    try {
      // One question first: if the answer is no, the others need not be asked, and a wrong token is shown once.
      await ask(SOURCES.status(), { signal });
      await refresh(Object.keys(SOURCES), signal);
      showLink("polling");
      if (document.hidden) {
        wait = HIDDEN_SECONDS;
      } else {
        await stream(signal, () => { failures = 0; });
        wait = RETRY_SECONDS[0];
      }
    } catch (problem) {
      if (signal.aborted) return;
      if (problem.kind === "unauthorized") {
        signOut(problem.message);
        return;
      }
      wait = Math.max(wait, problem.retrySeconds ?? 0);
      if (problem.kind === "not_ready") wait = Math.min(wait, 5);
      showProblem(problem, wait);
    }
    const waiting = pause(wait, signal);
    wakeUp = waiting.wake;
    await waiting.over;
  }
}

/** Begins the next try at once. */
let wakeUp = () => {};

/** Listens until the connection ends, or until nobody looks at the page: a browser keeps few connections to a server. */
async function stream(signal, onOpen) {
  const seen = new AbortController();
  const hide = () => document.hidden && seen.abort();
  document.addEventListener("visibilitychange", hide);
  const both = AbortSignal.any([signal, seen.signal]);
  try {
    await listen("/admin/events", {
      signal: both,
      onOpen: () => {
        onOpen();
        showLink("live");
      },
      onEvent: (name) => {
        if (!MADE_OLD[name]) return;
        // Whatever fails here fails again in the next turn, which says so.
        refresh(MADE_OLD[name], both).catch(() => seen.abort());
      },
    });
  } catch (problem) {
    if (signal.aborted || problem.kind === "unauthorized") throw problem;
    // Everything else shows in the next turn's questions, if it matters.
  } finally {
    document.removeEventListener("visibilitychange", hide);
  }
}

let working = null;
const wanted = new Set();

/** Asks for `names` anew; calls that come meanwhile are joined. */
function refresh(names, signal) {
  for (const name of names) wanted.add(name);
  working ??= work(signal).finally(() => { working = null; });
  return working;
}

/** One source that fails leaves the others; a failure of all is the connection's. */
async function work(signal) {
  while (wanted.size > 0) {
    const names = [...wanted];
    wanted.clear();
    const answers = await Promise.allSettled(names.map((name) => ask(SOURCES[name](), { signal })));
    if (signal.aborted) return;
    const refused = answers.find((answer) => answer.status === "rejected" && answer.reason.kind !== "refused" && answer.reason.kind !== "absent");
    if (refused) {
      wanted.clear();
      throw refused.reason;
    }
    const before = { ...state.sources };
    for (const [n, name] of names.entries()) {
      delete state.faults[name];
      if (answers[n].status === "fulfilled") state.sources[name] = answers[n].value;
      else state.faults[name] = answers[n].reason.message;
    }
    show(before);
  }
  if (drawer.what) loadDrawer();
}

/** Draws what has changed since `before`. */
function show(before) {
  const { sources } = state;
  const { status, preview, health, integrity, trend, alerts, users } = sources;
  const changed = (...names) => names.some((name) => sources[name] !== before[name]);
  showNotices();
  if (!status) return;
  for (const id of ["content", "jumps", "footer"]) byId(id).hidden = false;
  if (changed("status", "preview", "integrity", "health", "alerts")) {
    byId("database").textContent = status.database ? plain([status.database.name, status.database.replicaSet].filter(Boolean).join(" · ")) : "";
    drawVerdict(sources);
    drawFigures(sources);
    showRepair();
  }
  if (changed("status")) {
    drawRuns(status);
    drawAdvice(status);
    followRun(status.runs.find((run) => run.isActive));
  }
  if (trend && changed("trend")) drawTrend(trend);
  if (preview && changed("preview")) drawImpact(preview);
  if (integrity && changed("integrity")) drawFindings(integrity);
  if (users && changed("users")) drawUsers(users, reloadUsers);
  if (health && changed("health")) drawSystem(health);
  if (alerts && changed("alerts")) {
    drawAlerts(alerts);
    announceAlerts(before.alerts, alerts);
  }
  showAges();
}

const BODIES = { trend: "trend-body", preview: "days-body", integrity: "findings-body", users: "users-body", health: "system-body", alerts: "alerts-body" };

/** What is old, failed or missing, in words, above everything else. */
function showNotices(link = null) {
  const { status } = state.sources;
  const notices = [];
  if (link) notices.push(make("div", { class: "notice lost" }, link));
  if (status?.stale) {
    notices.push(make("div", { class: "notice" }, make("p", {}, make("strong", {}, "These figures are old. "), sentence(status.staleReason), " They are of ", moment(status.asOf), ".")));
  }
  fill(byId("notices"), notices);
  for (const [name, fault] of Object.entries(state.faults)) {
    if (BODIES[name]) fill(byId(BODIES[name]), make("p", { class: "fault" }, `Could not be loaded. ${sentence(fault)}`));
  }
}

const LINKS = { live: "Live", polling: "Asking now and then", lost: "Connection lost", waiting: "Waiting", connecting: "Connecting" };

function showLink(link) {
  const node = byId("link-state");
  node.dataset.state = link;
  node.textContent = LINKS[link];
  if (link !== "lost") showNotices();
}

let lostSince = null;

function showProblem(problem, waitSeconds) {
  if (problem.kind === "not_ready" && !state.sources.status) {
    showLink("waiting");
    drawWaiting(problem.message);
    return;
  }
  const again = make("button", { type: "button", "data-key": "again", on: { click: () => wakeUp() } }, "Try now");
  const next = `Trying again in ${span(waitSeconds)}.`;
  if (problem.kind === "busy") {
    showLink("waiting");
    if (!state.sources.status) drawNoAnswer("remelt asks for patience.", sentence(problem.message));
    showNotices([make("p", {}, make("strong", {}, "Too many questions at once. "), sentence(problem.message), ` ${next}`), again]);
    return;
  }
  showLink("lost");
  lostSince ??= Date.now();
  const age = state.sources.status ? [" What you see is of ", moment(state.sources.status.asOf), "."] : "";
  showNotices([make("p", {}, make("strong", {}, problem.kind === "gone" ? "The connection to remelt is lost" : "remelt does not answer as it should"), ` since ${clockTime.format(lostSince)}. `, problem.kind === "gone" ? "" : `${sentence(problem.message)} `, next, age), again]);
  if (!state.sources.status) drawNoAnswer("remelt does not answer.", "Check that remelt serve runs, and that you are in its network.");
}

function reloadUsers() {
  if (!stay) return;
  refresh(["users"], stay.signal).catch(() => wakeUp());
}

function showRepair() {
  drawRepair(state.sources, state.validation, validate);
}

/** Asks whether the repair could be applied now. It reads only; the server allows one at a time. */
async function validate() {
  if (!stay || state.validation?.state === "asked") return;
  const { signal } = stay;
  state.validation = { state: "asked" };
  showRepair();
  try {
    state.validation = { state: "told", data: await ask("/admin/migration/validate", { method: "POST", signal }) };
  } catch (problem) {
    if (signal.aborted) return;
    if (problem.kind === "unauthorized") {
      signOut(problem.message);
      return;
    }
    state.validation = { state: "failed", message: problem.message };
  }
  showRepair();
}

const followed = { runId: null, asked: null };

/** Follows a run at work, event by event, or by asking every other second. */
async function followRun(run) {
  if (run?.runId === followed.runId) return;
  followed.asked?.abort();
  followed.runId = run?.runId ?? null;
  if (!run) {
    drawProgress(null);
    return;
  }
  drawProgress(run);
  followed.asked = new AbortController();
  const signal = AbortSignal.any([stay.signal, followed.asked.signal]);
  const address = `/admin/runs/${encodeURIComponent(run.runId)}`;
  let isAtWork = true;
  const hear = (told) => {
    isAtWork = told.isActive;
    drawProgress(told);
  };
  while (isAtWork && !signal.aborted) {
    try {
      await listen(`${address}/events`, { signal, onOpen: () => {}, onEvent: (name, told) => name === "run" && hear(told.run ?? told) });
      if (isAtWork) hear((await ask(address, { signal })).run);
    } catch {
      if (signal.aborted) break;
    }
    if (isAtWork) await pause(2, signal).over;
  }
  if (signal.aborted) return;
  followed.runId = null;
  drawProgress(null);
  announce("The run has ended.");
  refresh(["status"], stay.signal).catch(() => wakeUp());
}

/** Ages and the time to the next pass. */
function showAges() {
  const { status, health } = state.sources;
  const now = serverNow();
  const asOf = instant(status?.asOf);
  const next = instant(health?.pass?.nextAt);
  if (byId("link-state").dataset.state !== "lost") lostSince = null;
  byId("age").replaceChildren(...(asOf === null ? [] : ["As of ", make("strong", {}, moment(status.asOf, timeOfDay)), `, ${span(Math.max(0, Math.round((now - asOf) / 1000)))} ago`]));
  const left = next === null ? null : Math.round((next - now) / 1000);
  byId("next-pass").textContent = left === null ? "" : left > 0 ? `Next pass in ${span(left)}` : "A pass is under way";
}

function tick() {
  if (!stay) return;
  showAges();
  setTimeout(tick, 1000);
}

startTheme();
startDrawer();
startUsersFilter(reloadUsers);
byId("forget").addEventListener("click", () => signOut());
addEventListener("online", () => wakeUp());
document.addEventListener("visibilitychange", () => document.hidden || wakeUp());
if (recall(TOKEN)) signIn();
else askForToken(signIn);
