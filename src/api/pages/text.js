// How figures, times and names are written. Knows no document.

const whole = new Intl.NumberFormat("en-GB");
const tenth = new Intl.NumberFormat("en-GB", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const clockTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const shortTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const fullTime = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
});
const shortDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

const NOTHING = "–";

/** An integer as a BigInt: amounts above 2^53 come as strings. Null for anything else. */
function integer(value) {
  if (typeof value === "number" ? Number.isSafeInteger(value) : /^-?\d{1,60}$/.test(value ?? "")) {
    return BigInt(value);
  }
  return null;
}

/** An integer with its thousands apart, exact whatever its size. */
function amount(value) {
  const exact = integer(value);
  return exact === null ? NOTHING : whole.format(exact).replace("-", "−");
}

/** An amount with its sign. */
function signed(value) {
  const exact = integer(value);
  return exact !== null && exact > 0n ? `+${amount(value)}` : amount(value);
}

/** As a number near it, for drawing only. */
function near(value) {
  const exact = integer(value);
  return exact === null ? 0 : Number(exact);
}

/** "1 user", "25 users". */
function many(count, one, more = `${one}s`) {
  return `${amount(count)} ${integer(count) === 1n ? one : more}`;
}

/** A share between 0 and 1; cut, not rounded, so that only all of it is 100 %. */
function percent(share) {
  if (typeof share !== "number" || !Number.isFinite(share)) return NOTHING;
  const tenths = Math.floor(share * 1000 + 1e-9);
  return tenths % 10 === 0 ? `${whole.format(tenths / 10)} %` : `${tenth.format(tenths / 10)} %`;
}

function bytes(value) {
  if (integer(value) === null) return NOTHING;
  const units = ["B", "KB", "MB", "GB", "TB"];
  let size = near(value);
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 || size >= 100 ? whole.format(Math.round(size)) : tenth.format(size)} ${units[unit]}`;
}

/** A length of time for reading: "0.4 s", "38 s", "4 min 10 s", "3 h 5 min", "2 days 4 h". */
function span(seconds) {
  if (typeof seconds !== "number" || !Number.isFinite(seconds)) return NOTHING;
  if (seconds < 10 && !Number.isInteger(seconds)) return `${tenth.format(seconds)} s`;
  const total = Math.round(seconds);
  const parts = [
    [Math.floor(total / 86400), "d"],
    [Math.floor(total / 3600) % 24, "h"],
    [Math.floor(total / 60) % 60, "min"],
    [total % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  const shown = parts.slice(first, first + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => `${whole.format(count)} ${unit}`).join(" ");
}

/** Milliseconds since 1970, or null. */
function instant(text) {
  const at = typeof text === "string" ? Date.parse(text) : NaN;
  return Number.isNaN(at) ? null : at;
}

function timeOfDay(text) {
  const at = instant(text);
  return at === null ? NOTHING : clockTime.format(at);
}

function dateAndTime(text) {
  const at = instant(text);
  return at === null ? NOTHING : fullTime.format(at);
}

/** Text with everything spelled out that would change how other text is shown: controls, bidirectional marks, zero widths. */
function plain(text) {
  return String(text ?? "").replace(
    /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/gu,
    (mark) => `\\u{${mark.codePointAt(0).toString(16).padStart(4, "0")}}`,
  );
}

/**
 * A message as a sentence: they begin small and end without a full stop, being parts of longer ones elsewhere. What is
 * no word of the language (a command, a collection) stays as it is.
 */
function sentence(message) {
  const text = plain(message).trim();
  if (text === "") return "";
  const isWord = /^[a-z]+[ ,;.]/.test(text) && !text.startsWith("remelt ");
  return `${isWord ? text.charAt(0).toUpperCase() : text.charAt(0)}${text.slice(1)}${/[.!?:]$/.test(text) ? "" : "."}`;
}

/** The two ends of a long name. */
function shortened(text, ends = 10) {
  const marks = Array.from(plain(text));
  if (marks.length <= 2 * ends + 3) return marks.join("");
  return `${marks.slice(0, ends + 2).join("")}…${marks.slice(-ends + 2).join("")}`;
}

/** "not_started" as "Not started". */
function words(code) {
  const text = plain(code).replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
