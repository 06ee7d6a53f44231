//! A real browser without a window, driven by the DevTools protocol over a pipe.
//!
//! It resolves no host name but the loopback addresses, so nothing outside this machine can be asked,
//! and it keeps account of everything that a page asks for or complains about.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// What the browser does not do: everything that it does for itself and not for the page.
const ARGUMENTS: [&str; 14] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];

/// Domains whose events are kept: the page, its console, what it asks for, and the browser's complaints.
const DOMAINS: [&str; 4] = ["Page", "Runtime", "Network", "Log"];

/// A browser with one page.
pub(crate) struct Browser {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    profile: tempfile::TempDir,
    session: Option<String>,
    last_id: u64,
    events: Vec<Value>,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_dark: bool,
}

impl Browser {
    /// Starts the browser, `chromium` or what `CHROMIUM` names, with a profile of its own.
    pub(crate) fn start() -> Browser {
        let profile = tempfile::tempdir().unwrap();
        let program = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
        // The protocol is spoken on descriptors 3 and 4, which the shell makes of the two pipes.
        let mut process = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >&2", "sh", &program])
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(profile.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut browser = Browser {
            process,
            requests,
            answers,
            profile,
            session: None,
            last_id: 0,
            events: Vec::new(),
        };
        let target = browser.call("Target.createTarget", &json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in DOMAINS {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser
    }

    /// Opens `url` and waits until it is loaded; forgets what earlier pages did.
    pub(crate) fn open(&mut self, url: &str) {
        self.events.clear();
        let answer = self.call("Page.navigate", &json!({"url": url}));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.read();
            self.events.push(event);
        }
    }

    /// The value of a JavaScript expression in the page; a promise is waited for.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let how = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", &how);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer:#}");
        answer["result"]["value"].clone()
    }

    /// Waits until a JavaScript expression holds in the page.
    pub(crate) fn until(&mut self, expression: &str) {
        self.evaluate(&format!(
            "new Promise(done => {{ const look = () => {{ if ({expression}) done(true); \
             else setTimeout(look, 20); }}; look(); }})"
        ));
    }

    /// Presses and releases a key, named as in `KeyboardEvent.key`.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, None),
            "Enter" => (13, Some("\r")),
            "Escape" => (27, None),
            "ArrowLeft" => (37, None),
            "ArrowRight" => (39, None),
            _ => panic!("no such key: {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if let (Some(text), "keyDown") = (text, kind) {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// Types text where the focus is.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// Looks at the page in another size or colour scheme.
    pub(crate) fn view(&mut self, view: View) {
        let View { width, height, is_dark } = view;
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// Lets scripts run in pages opened from now on, or not.
    pub(crate) fn allow_scripts(&mut self, is_allowed: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({"value": !is_allowed}));
    }

    /// The whole page as a PNG.
    pub(crate) fn screenshot(&mut self) -> Vec<u8> {
        let how = json!({"format": "png", "captureBeyondViewport": true});
        bytes_of(&self.call("Page.captureScreenshot", &how))
    }

    /// The page as it prints, as a PDF on A4.
    pub(crate) fn pdf(&mut self) -> Vec<u8> {
        let how = json!({"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": true});
        bytes_of(&self.call("Page.printToPDF", &how))
    }

    /// What the page or the browser complained about since [`Browser::open`]: console errors and
    /// warnings, exceptions that nobody caught, violations of the content security policy.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        self.settle();
        let complaint = |event: &Value| {
            let what = &event["params"];
            let level = match event["method"].as_str()? {
                "Runtime.exceptionThrown" => "error",
                "Runtime.consoleAPICalled" => what["type"].as_str()?,
                "Log.entryAdded" => what["entry"]["level"].as_str()?,
                _ => return None,
            };
            ["error", "warning", "assert"].contains(&level).then(|| what.to_string())
        };
        self.events.iter().filter_map(complaint).collect()
    }

    /// The addresses that the page asked for since [`Browser::open`], its own first.
    pub(crate) fn requests(&mut self) -> Vec<String> {
        self.settle();
        let asked = self.events.iter().filter(|e| e["method"] == "Network.requestWillBeSent");
        asked.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until what the page has begun is over and reported; a stream of events never is.
    fn settle(&mut self) {
        self.evaluate("0");
        while self.has_pending_requests() {
            let event = self.read();
            self.events.push(event);
        }
        self.evaluate("0");
    }

    fn has_pending_requests(&self) -> bool {
        let with = |methods: &[&str]| {
            let of =
                |event: &&Value| event["method"].as_str().is_some_and(|m| methods.contains(&m));
            let events: Vec<&Value> = self.events.iter().filter(of).collect();
            events
        };
        let over = with(&["Network.loadingFinished", "Network.loadingFailed"]);
        let id = |event: &Value| event["params"]["requestId"].clone();
        // The page reads its stream of events with fetch, which can send the token.
        let is_stream = |sent: &Value| {
            let url = sent["params"]["request"]["url"].as_str().unwrap_or_default();
            sent["params"]["type"] == "EventSource" || url.ends_with("/events")
        };
        with(&["Network.requestWillBeSent"])
            .into_iter()
            .filter(|sent| !is_stream(sent))
            .any(|sent| !over.iter().any(|over| id(over) == id(sent)))
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last_id += 1;
        let mut request = json!({"id": self.last_id, "method": method, "params": params});
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        let mut message = request.to_string().into_bytes();
        message.push(0);
        if self.requests.write_all(&message).is_err() {
            self.give_up();
        }
        loop {
            let mut answer = self.read();
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    fn read(&mut self) -> Value {
        let mut message = Vec::new();
        match self.answers.read_until(0, &mut message) {
            Ok(1..) => {}
            _ => self.give_up(),
        }
        message.pop();
        serde_json::from_slice(&message).unwrap()
    }

    fn give_up(&self) -> ! {
        let said = fs::read_to_string(self.profile.path().join("stderr")).unwrap_or_default();
        panic!("no browser answers; tests/setup installs chromium. It said:\n{said}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked so, it ends all its processes before it ends itself, and none writes to the profile any more.
        let _ = self.requests.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let _ = self.process.wait();
    }
}

fn bytes_of(answer: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(answer["data"].as_str().unwrap()).unwrap()
}

/// The address of a file.
pub(crate) fn file_url(path: &std::path::Path) -> String {
    format!("file://{}", path.to_str().unwrap())
}

#[test]
fn the_browser_notices_every_request_and_complaint() {
    let root = tempfile::tempdir().unwrap();
    let page = |name: &str, body: &str| {
        let path = root.path().join(format!("{name}.html"));
        fs::write(&path, format!("<!doctype html><title>{name}</title>{body}")).unwrap();
        file_url(&path)
    };
    let mut browser = Browser::start();
    let quiet = page("quiet", "<p id=p>text<script>p.textContent = 'set'</script>");
    browser.open(&quiet);
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests(), [quiet]);
    assert_eq!(browser.evaluate("p.textContent"), "set");

    for (name, body, complaint) in [
        ("image", "<img src='http://images.example/x.png'>", "ERR_NAME_NOT_RESOLVED"),
        ("fetch", "<script>fetch('http://other.example/').catch(() => {})</script>", "RESOLVED"),
        ("console", "<script>console.error('said so')</script>", "said so"),
        ("exception", "<script>no_such_thing()</script>", "no_such_thing"),
        (
            "policy",
            "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'\">\
             <script>1</script>",
            "Content Security Policy",
        ),
    ] {
        let url = page(name, body);
        browser.open(&url);
        let complaints = browser.complaints();
        assert!(complaints.iter().any(|said| said.contains(complaint)), "{name}: {complaints:?}");
        let is_request = ["image", "fetch"].contains(&name);
        assert_eq!(browser.requests().len(), 1 + usize::from(is_request), "{name}");
    }

    let scheme = page("scheme", "<p>");
    let asked = "[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches].join()";
    for (view, expected) in [
        (View { width: 360, height: 800, is_dark: true }, "360,true"),
        (View { width: 1280, height: 800, is_dark: false }, "1280,false"),
    ] {
        browser.view(view);
        browser.open(&scheme);
        assert_eq!(browser.evaluate(asked), expected);
        assert!(browser.screenshot().starts_with(b"\x89PNG"));
    }
    assert!(browser.pdf().starts_with(b"%PDF"));
    browser.allow_scripts(false);
    browser.open(&page("silent", "<p id=p>text</p><script>p.textContent = 'set'</script>"));
    assert_eq!(browser.evaluate("document.querySelector('p').textContent"), "text");
}
