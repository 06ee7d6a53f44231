// Asking the server, and listening to it. Every way in which that can fail has one name.

const ANSWER_SECONDS_MAX = 30;
/** The server says something at least every 15 s. */
const SILENCE_SECONDS_MAX = 40;
const REMEMBERED_MAX = 60;

/** `kind`: unauthorized, not_ready, busy, gone, absent, refused. */
class Problem extends Error {
  constructor(kind, message, retrySeconds = null) {
    super(message);
    this.kind = kind;
    this.retrySeconds = retrySeconds;
  }
}

const KINDS = { 401: "unauthorized", 404: "absent", 429: "busy", 502: "gone", 503: "not_ready", 504: "gone" };

// Address → {etag, data}: an answer that has not changed is not sent again.
const remembered = new Map();

// The server's clock is the one that counts.
let clockAheadMs = 0;

function serverNow() {
  return Date.now() + clockAheadMs;
}

function request(path, { method = "GET", headers = {}, signal } = {}) {
  return fetch(path, {
    method,
    headers: { Authorization: `Bearer ${recall(TOKEN)}`, ...headers },
    signal,
    cache: "no-store",
    credentials: "omit",
    redirect: "error",
  });
}

async function problemOf(answer) {
  let told = null;
  try {
    told = await answer.json();
  } catch {
    // Not our server's words; the status must do.
  }
  const retry = Number(answer.headers.get("Retry-After"));
  const said = typeof told?.details === "string" ? told.details : `The server answered with status ${answer.status}.`;
  return new Problem(KINDS[answer.status] ?? "refused", said, retry > 0 ? Math.min(retry, 300) : null);
}

/** The `data` of an answer. */
async function ask(path, { method = "GET", signal } = {}) {
  const known = method === "GET" ? remembered.get(path) : undefined;
  const limit = AbortSignal.timeout(ANSWER_SECONDS_MAX * 1000);
  let answer;
  let told;
  try {
    answer = await request(path, {
      method,
      headers: known ? { "If-None-Match": known.etag } : {},
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
    });
    if (answer.status === 304 && known) return known.data;
    if (answer.ok) told = await answer.json();
  } catch (reason) {
    if (signal?.aborted) throw reason;
    throw new Problem("gone", "The connection to the server is lost.");
  }
  if (!answer.ok) throw await problemOf(answer);
  if (told?.success !== true) throw new Problem("refused", "The server answered with something else than its data.");
  const made = instant(told.data?.timestamp);
  if (made !== null) clockAheadMs = made - Date.now();
  const etag = answer.headers.get("ETag");
  if (etag && method === "GET") {
    remembered.delete(path);
    remembered.set(path, { etag, data: told.data });
    if (remembered.size > REMEMBERED_MAX) remembered.delete(remembered.keys().next().value);
  }
  return told.data;
}

/**
 * Listens to a stream of events until it ends, fails or is silent for too long.
 * `EventSource` can't send a header, so the stream is read by hand.
 */
async function listen(path, { signal, onOpen, onEvent }) {
  const quiet = new AbortController();
  let watch = null;
  const hear = () => {
    clearTimeout(watch);
    watch = setTimeout(() => quiet.abort(), SILENCE_SECONDS_MAX * 1000);
  };
  hear();
  try {
    const answer = await request(path, {
      headers: { Accept: "text/event-stream" },
      signal: AbortSignal.any([signal, quiet.signal]),
    });
    if (!answer.ok) throw await problemOf(answer);
    onOpen();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      hear();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      if (rest.length > 1_000_000) throw new Problem("refused", "An event is too long.");
      for (const block of blocks) tell(block, onEvent);
    }
  } catch (reason) {
    if (signal.aborted || reason instanceof Problem) throw reason;
    throw new Problem("gone", "The connection to the server is lost.");
  } finally {
    clearTimeout(watch);
  }
}

function tell(block, onEvent) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
    if (field === "event") name = value;
    if (field === "data") data.push(value);
  }
  if (data.length === 0) return;
  let content;
  try {
    content = JSON.parse(data.join("\n"));
  } catch {
    return;
  }
  onEvent(name, content);
}

/** Waits, or until `signal` is aborted, or until the returned function is called. */
function pause(seconds, signal) {
  let wake;
  const over = new Promise((done) => {
    wake = done;
    setTimeout(done, seconds * 1000);
    signal.addEventListener("abort", done, { once: true });
  });
  return { over, wake };
}
