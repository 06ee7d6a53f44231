//! Streams of events, and an end in good order.

use crate::support::api::{
    Checked, Served, TOKEN, api_options, damaged, empty_board, monitor_options,
};
use crate::support::http::connect;
use crate::support::live::Ledger;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// A stream of events that is open.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(api: &Served, target: &str) -> Events {
        let mut stream = connect(api.address);
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut events = Events(BufReader::new(stream));
        let head: Vec<String> =
            std::iter::from_fn(|| events.line()).take_while(|line| !line.is_empty()).collect();
        assert!(head[0].contains(" 200 "), "{head:?}");
        assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
        events
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.0.read_line(&mut line).unwrap();
        (count > 0).then(|| line.trim_end().to_owned())
    }

    /// Name and data of the next event; `None` at the end.
    fn next(&mut self) -> Option<(String, Value)> {
        let mut name = String::new();
        loop {
            let line = self.line()?;
            if let Some(told) = line.strip_prefix("event: ") {
                name = told.to_owned();
            } else if let Some(told) = line.strip_prefix("data: ") {
                return Some((name, serde_json::from_str(told).unwrap()));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_is_announced_to_those_who_listen() {
    let checked = Checked::generated(300, 5, false).await;
    let api = checked.serve(api_options());
    let mut events = Events::open(&api, "/admin/events");
    checked.check().await;
    let mut names = Vec::new();
    while !names.contains(&"pass".to_owned()) {
        let (name, data) = events.next().unwrap();
        assert!(data["at"].as_str().unwrap().ends_with('Z'), "{data}");
        names.push(name);
    }
    assert!(names.iter().all(|name| ["pass", "alerts", "runs", "health"].contains(&name.as_str())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_ended_is_told_once() {
    let (documents, _) = crate::support::exports::small_ledger(300);
    let ledger = Ledger::new(&documents).await;
    let report = ledger.apply().await.unwrap();
    let checked = Checked::of(&ledger).await;
    let api = checked.serve(api_options());
    let mut events = Events::open(&api, &format!("/admin/runs/{}/events", report.run_id));
    let (name, run) = events.next().unwrap();
    assert_eq!(
        (&*name, &run["runId"], &run["isActive"]),
        ("run", &report.run_id.into(), &false.into())
    );
    assert_eq!(events.next(), None);
}

#[test]
fn the_number_of_streams_is_bounded() {
    let board = empty_board();
    let api = Served::start(board, monitor_options("mongodb://127.0.0.1:1"), api_options());
    let open: Vec<Events> = (0..64).map(|_| Events::open(&api, "/admin/events")).collect();
    let refused = api.get("/admin/events");
    assert_eq!((refused.status, &*refused.error()), (503, "busy"));
    assert_eq!(api.get("/healthz").status, 200);
    drop(open);
    // The server notices a closed connection in its own time.
    let is_free = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut stream = connect(api.address);
        let request = format!(
            "GET /admin/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.contains(" 200 ")
    });
    assert!(is_free, "a stream that was closed makes room");
}

#[test]
fn stopping_ends_streams_and_finishes_answers() {
    let (checked, _) = damaged();
    let api = checked.serve(api_options());
    let mut events = Events::open(&api, "/admin/events");
    // An answer under way: its body is not whole yet when the end begins.
    let mut asking = connect(api.address);
    let request = format!(
        "POST /admin/migration/validate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    );
    asking.write_all(request.as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    api.begin_to_stop();
    while events.next().is_some() {}
    let answer = crate::support::http::exchange(asking, b"{}").expect("the answer under way");
    assert_eq!(answer.data()["isValid"], true);
    let address = api.address;
    api.stop().unwrap();
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}
