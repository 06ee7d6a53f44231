// The token and the colours: kept for this tab only, and never in an address.

const TOKEN = "remelt.token";
const THEME = "remelt.theme";

// A browser may refuse storage altogether; then they live as long as the page.
const memory = new Map();

function recall(name) {
  try {
    return sessionStorage.getItem(name) ?? memory.get(name) ?? null;
  } catch {
    return memory.get(name) ?? null;
  }
}

function keep(name, value) {
  memory.set(name, value);
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // Kept in memory.
  }
}

function forget(name) {
  memory.delete(name);
  try {
    sessionStorage.removeItem(name);
  } catch {
    // There was nothing.
  }
}

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function showTheme() {
  const theme = recall(THEME) ?? (prefersDark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  const other = theme === "dark" ? "light" : "dark";
  const button = byId("theme");
  button.textContent = words(other);
  button.setAttribute("aria-label", `Use ${other} colours`);
}

function startTheme() {
  showTheme();
  prefersDark.addEventListener("change", showTheme);
  byId("theme").addEventListener("click", () => {
    keep(THEME, document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    showTheme();
  });
}

/** What is wrong with a token as typed, or null. */
function tokenFault(token) {
  if (token === "") return "Enter the token.";
  if (!/^[\x21-\x7e]+$/.test(token)) return "A token has no spaces and only plain ASCII characters; was all of it copied, and nothing else?";
  return null;
}

/** Shows the form for the token; `accept` gets a token that has the right form. */
function askForToken(accept, fault = "") {
  const entry = byId("entry");
  const field = byId("token");
  entry.hidden = false;
  showFault(fault);
  field.value = "";
  field.focus();
  byId("token-form").onsubmit = (event) => {
    event.preventDefault();
    const token = field.value.trim();
    const wrong = tokenFault(token);
    showFault(wrong ?? "");
    if (wrong) {
      field.focus();
      return;
    }
    keep(TOKEN, token);
    field.value = "";
    entry.hidden = true;
    accept();
    byId("main").focus({ preventScroll: true });
  };
}

function showFault(text) {
  byId("token-fault").textContent = sentence(text);
  byId("token").setAttribute("aria-invalid", text ? "true" : "false");
}
