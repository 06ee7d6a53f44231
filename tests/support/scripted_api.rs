//! A server that answers as it is told: the real pages, with the real policy, over answers that a test writes.
//!
//! It shows the pages what no real server can be brought to say at will: old figures, no figures yet, names that
//! attack, a connection that goes away.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The token that it wants.
pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// One page of the product: its text and its policy.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) html: String,
    pub(crate) policy: String,
}

/// One answer.
#[derive(Clone)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

#[derive(Default)]
struct Script {
    pages: BTreeMap<&'static str, Page>,
    answers: BTreeMap<String, Answer>,
    /// Streams that are open, by their path.
    streams: Vec<(String, TcpStream)>,
    /// What was asked for, with its query.
    asked: Vec<String>,
    is_gone: bool,
}

/// A server in this process.
#[derive(Clone)]
pub(crate) struct ScriptedApi {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl ScriptedApi {
    /// Starts it with the pages.
    pub(crate) fn start(pages: impl IntoIterator<Item = (&'static str, Page)>) -> ScriptedApi {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let script = Script { pages: pages.into_iter().collect(), ..Script::default() };
        let api = ScriptedApi { address, script: Arc::new(Mutex::new(script)) };
        let server = api.clone();
        // It ends with the process; every connection carries one question.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                thread::spawn(move || server.serve(stream));
            }
        });
        api
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on, `path` (without its query) is answered with `data`.
    pub(crate) fn tells(&self, path: &str, data: &Value) {
        let body = json!({"success": true, "data": data}).to_string();
        self.answers(path, Answer { status: 200, headers: Vec::new(), body });
    }

    /// From now on, `path` is answered with `content` as it is.
    pub(crate) fn tells_bare(&self, path: &str, content: &Value) {
        self.answers(path, Answer { status: 200, headers: Vec::new(), body: content.to_string() });
    }

    /// From now on, `path` is refused.
    pub(crate) fn refuses(&self, path: &str, status: u16, error: &str, details: &str) {
        let body = json!({"success": false, "error": error, "details": details}).to_string();
        let headers = vec![("Retry-After", "1".to_owned())];
        self.answers(path, Answer { status, headers, body });
    }

    fn answers(&self, path: &str, answer: Answer) {
        self.script().answers.insert(path.to_owned(), answer);
    }

    /// Sends an event to everybody who listens at `path`.
    pub(crate) fn emit(&self, path: &str, event: &str, data: &Value) {
        let message = format!("event: {event}\ndata: {data}\n\n");
        for (_, stream) in self.script().streams.iter_mut().filter(|(at, _)| at == path) {
            // Who does not listen any more misses nothing.
            let _ = stream.write_all(message.as_bytes());
        }
    }

    /// Goes away: every stream ends, every question is cut off. Or comes back.
    pub(crate) fn goes_away(&self, is_gone: bool) {
        let mut script = self.script();
        script.is_gone = is_gone;
        script.streams.clear();
    }

    /// How many listen at `path`.
    pub(crate) fn listeners(&self, path: &str) -> usize {
        self.script().streams.iter().filter(|(at, _)| at == path).count()
    }

    /// Everything that was asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.script().asked.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let Some(request) = lines.next() else { return };
        let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let target = request.split(' ').nth(1).unwrap_or_default();
        let path = target.split('?').next().unwrap_or_default();
        let mut script = self.script();
        script.asked.push(target.to_owned());
        if script.is_gone {
            return;
        }
        if let Some(page) = script.pages.get(path) {
            let policy = ("Content-Security-Policy", page.policy.clone());
            let body = page.html.clone();
            return send(
                &mut stream,
                "text/html",
                &Answer { status: 200, headers: vec![policy], body },
            );
        }
        let authorization = format!("authorization: bearer {TOKEN}");
        if !headers.iter().any(|header| header.to_lowercase() == authorization) {
            let details = "the token is wrong; look at REMELT_API_TOKEN";
            let body = json!({"success": false, "error": "unauthorized", "details": details});
            let refusal = Answer { status: 401, headers: Vec::new(), body: body.to_string() };
            return send(&mut stream, "application/json", &refusal);
        }
        if path.ends_with("/events") {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
            if stream.write_all(head.as_bytes()).is_ok() {
                script.streams.push((path.to_owned(), stream));
            }
            return;
        }
        let answer = script.answers.get(path).cloned();
        drop(script);
        let unknown = || Answer {
            status: 404,
            headers: Vec::new(),
            body: json!({"success": false, "error": "not_found", "details": "no such path"})
                .to_string(),
        };
        send(&mut stream, "application/json", &answer.unwrap_or_else(unknown));
    }
}

fn send(stream: &mut TcpStream, kind: &str, answer: &Answer) {
    let Answer { status, headers, body } = answer;
    let mut head = format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nConnection: close\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // The browser may have gone; there is nobody to tell.
    let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes());
}
