//! What `serve` and `monitor` are set up with, and what clients send them: tokens, passwords, keys, webhooks.
//! None of it comes to light in a log, an answer, a page, a notice, a file, a help text or a message.

use crate::api_guard::PATHS;
use crate::support::canaries::{CANARIES, Sinks, base64, token, wallet};
use crate::support::command::{Outcome, arg, finish, remelt};
use crate::support::files::files_below;
use crate::support::http::{HttpAnswer, connect_tls, exchange};
use crate::support::mongod::{Options, ReplicaSet};
use crate::support::raw_collection::RawCollection;
use crate::support::serve_process::ServeProcess;
use mongodb::bson::doc;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

const TOKEN: &str = "canaryApiToken5e1f2a3b4c5d6e7f80";
const WRONG_TOKEN: &str = "canaryWrongToken90817263544536";
const DB_PASSWORD: &str = "canaryDbPassw0rd";
const URI_OPTION: &str = "canaryTlsKeyFilePassw0rd";
const HOOK_PASSWORD: &str = "canaryHookPassw0rd";
const HOOK_PATH: &str = "canaryHookPath";
const HOOK_QUERY: &str = "canaryHookQuery";
const HOOK_KEY: &str = "canaryHookKey";
const BASIC_PASSWORD: &str = "canaryBasicPassw0rd";
const SENT: &str = "canaryWhatAClientSent";

/// Everything that a set-up or a client's request holds and no output may.
const OF_A_SET_UP: [&str; 10] = [
    TOKEN,
    WRONG_TOKEN,
    DB_PASSWORD,
    URI_OPTION,
    HOOK_PASSWORD,
    HOOK_PATH,
    HOOK_QUERY,
    HOOK_KEY,
    BASIC_PASSWORD,
    SENT,
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls").join(name)
}

/// The lines of the server's private key that hold the key itself, and its number as hex digits.
fn private_key() -> Vec<String> {
    let text = fs::read_to_string(fixture("localhost.key")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap();
    let der = key.secret_der();
    let at = der.windows(2).position(|two| two == [0x04, 0x20]).unwrap() + 2;
    let number = der[at..at + 32].iter().map(|byte| format!("{byte:02x}")).collect();
    text.lines().skip(1).take(2).map(str::to_owned).chain([number]).collect()
}

fn sinks() -> Sinks {
    let key = private_key();
    Sinks::new(CANARIES.into_iter().chain(OF_A_SET_UP).chain(key.iter().map(String::as_str)))
}

fn webhook(address: &str) -> String {
    format!("http://hook:{HOOK_PASSWORD}@{address}/{HOOK_PATH}?key={HOOK_QUERY}")
}

/// Files with secrets in them, each for its owner alone.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { root: tempfile::tempdir().unwrap() };
        place.put("token", TOKEN);
        place.put("hook-key", HOOK_KEY);
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A command with secrets wherever the environment can hold them, and every library asked to say all.
    fn command(&self, line: &str, uri: &str, webhook: &str) -> Command {
        let mut command = remelt(line.split(' ').filter(|word| !word.is_empty()));
        command.current_dir(self.root.path()).env("MONGODB_URI", uri);
        command.env("REMELT_API_TOKEN", TOKEN).env("REMELT_WEBHOOK", webhook);
        command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
        command
    }
}

fn streams_are_silent(sinks: &Sinks, outcome: &Outcome) {
    sinks.silent(&format!("standard output of {outcome:?}"), outcome.stdout.as_bytes());
    sinks.silent(&format!("standard error of {outcome:?}"), outcome.stderr.as_bytes());
}

/// A server process that speaks TLS.
struct Serving(ServeProcess);

impl Serving {
    fn start(command: Command) -> Serving {
        Serving(ServeProcess::start(command, "https"))
    }

    /// Sends a request exactly as written.
    fn raw(&self, request: &str) -> Option<HttpAnswer> {
        let stream = connect_tls(self.0.address, &fixture("localhost.crt"));
        exchange(stream, request.as_bytes())
    }

    fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> HttpAnswer {
        let length = body.len();
        self.raw(&format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ))
        .expect("an answer")
    }

    fn get(&self, target: &str) -> HttpAnswer {
        self.ask("GET", target, &bearer(TOKEN), "")
    }

    /// Asks until the answer has this status.
    fn until(&self, path: &str, status: u16) {
        while self.get(path).status != status {
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// Everything that a client can ask, well and badly, with secrets wherever a client can put one.
fn answers(server: &Serving) -> Vec<HttpAnswer> {
    let right = bearer(TOKEN);
    let basic =
        format!("Authorization: Basic {}\r\n", base64(format!("u:{BASIC_PASSWORD}").as_bytes()));
    let cookie =
        format!("{right}Cookie: session={SENT}\r\nX-Api-Key: {SENT}\r\nUser-Agent: {SENT}\r\n");
    let json = format!("{right}Content-Type: application/json\r\n");
    let mut answers = Vec::new();
    for (method, path) in PATHS.iter().filter(|(_, path)| *path != "/admin/events") {
        for headers in [&right, &bearer(WRONG_TOKEN), &basic, &cookie] {
            answers.push(server.ask(method, path, headers, ""));
        }
        for headers in [&right, ""] {
            let target = format!("{path}?token={TOKEN}&{SENT}={SENT}");
            answers.push(server.ask(method, &target, headers, ""));
        }
        // Methods and parameters that a path does not know, right before or after what it does know.
        answers.push(server.ask("DELETE", &format!("{path}?x={SENT}"), &right, ""));
        answers.push(server.ask(method, &format!("{path}?limit={SENT}&npub={SENT}"), &right, ""));
    }
    let encoded = format!("cashuA{}", CANARIES[5]);
    for name in [TOKEN, SENT, CANARIES[0], &encoded] {
        for path in ["/admin/users/", "/admin/runs/", "/"] {
            let target = format!("{path}{name}");
            answers.push(server.get(&target));
            answers.push(server.get(&format!("{target}?x=1")));
            answers.push(server.ask("POST", &target, &right, ""));
            answers.push(server.ask("GET", &target, &bearer(WRONG_TOKEN), ""));
        }
        answers.push(server.get(&format!("/admin/runs/{name}/events")));
        answers.push(server.get(&format!("/admin/findings?npub={name}")));
        answers.push(server.get(&format!("/admin/health/balance-consistency?npub={name}")));
    }
    for body in ["{}".to_owned(), format!("{{\"{SENT}\": \"{SENT}\"}}"), format!("\"{SENT}")] {
        answers.push(server.ask("POST", "/admin/migration/validate", &json, &body));
    }
    for page in ["/", "/docs", "/healthz", "/openapi.json", "/metrics"] {
        answers.push(server.get(page));
    }
    for request in [
        format!("GET /{SENT} {SENT}\r\n\r\n"),
        format!("{SENT} / HTTP/1.1\r\nHost: localhost\r\n{right}Connection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: {SENT}.example\r\n{right}Connection: close\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{SENT}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", SENT.repeat(1000)),
    ] {
        answers.extend(server.raw(&request));
    }
    answers
}

/// A webhook that always answers with this status; gives what comes to it.
fn receiver(status: &'static str) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, posted) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            let mut part = [0; 4096];
            // The body is one JSON object and ends the request.
            while !text.ends_with("}") {
                let count = stream.read(&mut part).unwrap();
                if count == 0 {
                    break;
                }
                text += &String::from_utf8_lossy(&part[..count]);
            }
            let answer = format!(
                "HTTP/1.1 {status} {SENT}\r\nlocation: http://{SENT}/\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{SENT}",
                SENT.len()
            );
            let _ = stream.write_all(answer.as_bytes());
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    (address, posted)
}

/// A database full of canaries that wants a password; gives the address with it, and one more option.
async fn database() -> (ReplicaSet, String) {
    let set = ReplicaSet::start_with(&Options { auth: true, ..Options::default() }).await;
    set.add_user("reader", DB_PASSWORD, vec![doc! {"role": "read", "db": "nctool"}]).await;
    let database = set.client().await.database("nctool");
    let tokens: Vec<Vec<u8>> = (0..30).map(token).collect();
    RawCollection::new(&database, "cashu_tokens").insert(&tokens).await;
    RawCollection::new(&database, "cashu_wallets").insert(&[wallet(1).bytes]).await;
    let uri = set.user_uri("reader", DB_PASSWORD).replacen("/?", "/nctool?", 1);
    (set, uri)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_a_set_up_a_client_or_a_ledger_comes_to_light_while_serving() {
    let (_set, uri) = database().await;
    let place = Place::new();
    let sinks = sinks();
    let (hook, posted) = receiver("302");
    let (cert, key) = (fixture("localhost.crt"), fixture("localhost.key"));
    let serve = format!(
        "serve --listen 127.0.0.1:0 --interval 1s --token-file token --webhook-key-file hook-key \
         --state-dir state --tls-cert {} --tls-key {}",
        arg(&cert),
        arg(&key)
    );
    let nowhere = format!("mongodb://u:{DB_PASSWORD}@127.0.0.1:1/?serverSelectionTimeoutMS=200");
    let refusing = webhook("127.0.0.1:1");
    for (form, uri, hook, ready, told) in [
        ("--rate-limit 0", &uri, &webhook(&hook), 200, 200),
        ("--rate-limit 0 -vv --log-format json", &uri, &webhook(&hook), 200, 405),
        ("--rate-limit 2 -vv", &uri, &refusing, 200, 429),
        ("--rate-limit 0 -vv --log-format json --json", &nowhere, &refusing, 503, 503),
    ] {
        let server = Serving::start(place.command(&format!("{serve} {form}"), uri, hook));
        server.until("/readyz", ready);
        let answers = answers(&server);
        assert!(answers.iter().any(|answer| answer.status == told), "{form}");
        for answer in answers {
            sinks.silent(&format!("an answer, {form}"), answer.everything().as_bytes());
        }
        let (stdout, stderr) = server.0.interrupt();
        assert!(stderr.contains("answered"), "there is an access log, {form}:\n{stderr}");
        sinks.silent(&format!("standard output, {form}"), stdout.as_bytes());
        sinks.silent(&format!("standard error, {form}"), stderr.as_bytes());
    }
    // The first line and the head are for the receiver; what it is told stands in the body.
    let notice = posted.recv().unwrap();
    let (head, body) = notice.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(HOOK_PATH) && body.contains("opened"), "{notice}");
    sinks.silent("a notice", body.as_bytes());
    let kept = files_below(&place.at("state"));
    assert_eq!(kept.len(), 2, "alerts and trend");
    for (name, bytes) in kept {
        sinks.silent(&name, &bytes);
    }
    // Once: it waits until its notices are taken.
    let (hook, _posted) = receiver("200");
    for form in ["", "--json", "--quiet", "-vv --log-format json"] {
        let line = format!("monitor --once --webhook-key-file hook-key {form}");
        for uri in [&uri, &nowhere] {
            streams_are_silent(&sinks, &finish(&mut place.command(&line, uri, &webhook(&hook))));
        }
    }
    sinks.are_those_of_the_documentation("serving");
}

/// The commands that help lists.
fn commands() -> Vec<String> {
    let help = finish(&mut remelt(["--help"])).exits(0).stdout;
    let listed = help.split_once("Commands:").unwrap().1.split_once("\n\n").unwrap().0;
    let words = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let words = words.filter_map(|line| line.split_whitespace().next());
    let words: Vec<String> = words.filter(|word| *word != "help").map(str::to_owned).collect();
    assert!(words.iter().any(|word| word == "serve") && words.len() > 15, "{words:?}");
    words
}

/// The long options of a command that take a value.
fn options(command: &str) -> Vec<String> {
    let help = finish(&mut remelt([command, "--help"])).exits(0).stdout;
    let lines = help.lines().filter_map(|line| line.trim().split_once("--"));
    let options = lines.filter_map(|(_, rest)| rest.split_once(" <")).map(|(name, _)| name);
    options.filter(|name| !name.contains(' ')).map(str::to_owned).collect()
}

#[test]
fn no_help_and_no_refusal_shows_the_environment_or_the_configuration() {
    let place = Place::new();
    let sinks = sinks();
    let uri = format!("mongodb://u:{DB_PASSWORD}@h/?tlsCertificateKeyFilePassword={URI_OPTION}");
    let hook = webhook("hooks.example");
    place.put("c.toml", &format!("uri = \"{uri}\"\nwebhook = \"{hook}\"\n"));
    let typed = format!("https://hooks.example/{HOOK_PATH}?key={HOOK_QUERY}");
    let typed_options = format!("mongodb://h/?tlsCertificateKeyFilePassword={URI_OPTION}");
    for command in commands() {
        let lines = [
            format!("{command} --help --config c.toml"),
            format!("help {command}"),
            format!("{command} {hook} --config c.toml"),
            format!("{command} {typed} --json --config c.toml"),
            format!("{command} {typed_options} --config c.toml --log-format json"),
            format!("{command} --webhook {typed} --uri {uri} --no-such-option"),
        ];
        let wrong =
            options(&command).into_iter().zip([&typed, &typed_options, &hook].into_iter().cycle());
        let wrong = wrong.map(|(option, value)| format!("{command} --{option}={value} --none=x"));
        for line in lines.into_iter().chain(wrong) {
            streams_are_silent(&sinks, &finish(&mut place.command(&line, &uri, &hook)));
        }
    }
    for malformed in [format!("mongodb://u:{DB_PASSWORD}@@h:x/%zz"), DB_PASSWORD.to_owned()] {
        for line in ["status", "serve", "monitor --once", "status --json", "validate no-plan"] {
            streams_are_silent(&sinks, &finish(&mut place.command(line, &malformed, HOOK_PATH)));
        }
    }
    sinks.are_those_of_the_documentation("help and refusals");
}

#[test]
fn no_message_about_a_file_shows_what_stands_in_it() {
    let place = Place::new();
    let sinks = sinks();
    let said = |line: &str| {
        for form in ["", " --json -vv --log-format json"] {
            let mut command = place.command(&format!("{line}{form}"), "mongodb://127.0.0.1:1", "");
            let outcome =
                finish(command.env_remove("REMELT_API_TOKEN").env_remove("REMELT_WEBHOOK"));
            assert!(matches!(outcome.code, Some(1..=3)), "{outcome:?}");
            streams_are_silent(&sinks, &outcome);
        }
    };
    let said_anything = |line: &str| {
        let nowhere = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=1";
        streams_are_silent(&sinks, &finish(&mut place.command(line, nowhere, "")));
    };
    // Configuration files that are wrong, or are no configuration at all.
    let key = fs::read_to_string(fixture("localhost.key")).unwrap();
    let uri = format!("mongodb://u:{DB_PASSWORD}@h");
    for text in [
        key.clone(),
        TOKEN.to_owned(),
        uri.clone(),
        format!("uri = {uri}"),
        format!("uri = \"{uri}"),
        format!("uri = \"{uri}\\q\""),
        format!("REMELT_API_TOKEN={TOKEN}"),
        format!("{TOKEN} = 1"),
        format!("\"{uri}\" = 1"),
        format!("[{TOKEN}]\nx = 1"),
        format!("[status]\n{TOKEN} = 1"),
        format!("[status]\nuri.{TOKEN} = 1"),
        format!("uri = \"a\"\nuri = \"{uri}\""),
        format!("uri = [\"{uri}\"]"),
        format!("uri = {{ a = \"{uri}\" }}"),
    ] {
        place.put("c.toml", &text);
        said("status --config c.toml");
    }
    for command in commands() {
        for option in options(&command) {
            place.put("c.toml", &format!("[{command}]\n{option} = [\"{uri}\", \"{SENT}\"]\n"));
            said_anything("status --config c.toml");
            place.put("c.toml", &format!("[{command}]\n{option} = \"{SENT}\"\n"));
            said_anything("status --config c.toml");
        }
    }
    // Files with one secret where another is expected.
    place.put("key.pem", &key);
    place.put("long-token", &TOKEN.repeat(999));
    place.put("broken.pem", &key.replace("AgEA", "!gEA"));
    let cert = arg(&fixture("localhost.crt")).to_owned();
    for files in [
        "--token-file key.pem".to_owned(),
        "--token-file long-token".to_owned(),
        "--token-file token --tls-cert token --tls-key token".to_owned(),
        "--token-file token --tls-cert key.pem --tls-key key.pem".to_owned(),
        format!("--token-file token --tls-cert {cert} --tls-key token"),
        format!("--token-file token --tls-cert {cert} --tls-key broken.pem"),
        "--token-file token --webhook http://h/ --webhook-key-file long-token".to_owned(),
    ] {
        said(&format!("serve --listen 127.0.0.1:0 {files}"));
    }
    // A token that others may read is not repeated while that is said.
    fs::set_permissions(place.at("token"), fs::Permissions::from_mode(0o644)).unwrap();
    said("serve --listen 127.0.0.1:0 --token-file token");
    sinks.are_those_of_the_documentation("files with secrets");
}
