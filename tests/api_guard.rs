//! Who may ask the API, how much and how often, and what no answer ever holds.

use crate::support::api::{
    Checked, Served, TOKEN, api_options, damaged, empty_board, monitor_options, tls,
};
use crate::support::http::{connect, exchange};
use remelt::api::{ApiOptions, ServeError, Tls, TlsError};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tokio::net::TcpSocket;

/// Every path that wants the token, with its method.
pub(crate) const PATHS: [(&str, &str); 17] = [
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/admin/migration/status"),
    ("GET", "/admin/migration/preview"),
    ("POST", "/admin/migration/validate"),
    ("GET", "/admin/health"),
    ("GET", "/admin/health/balance-consistency"),
    ("GET", "/admin/health/token-integrity"),
    ("GET", "/admin/findings"),
    ("GET", "/admin/users/x"),
    ("GET", "/admin/alerts"),
    ("GET", "/admin/trend"),
    ("GET", "/admin/runs"),
    ("GET", "/admin/runs/x"),
    ("GET", "/admin/runs/x/events"),
    ("GET", "/admin/events"),
];

/// A server of the test's own that knows nothing.
fn empty(change: impl FnOnce(&mut ApiOptions)) -> Served {
    let mut options = api_options();
    change(&mut options);
    let board = empty_board();
    Served::start(board, monitor_options("mongodb://127.0.0.1:1"), options)
}

#[test]
fn nothing_is_answered_without_exactly_the_right_token() {
    let (_, api) = damaged();
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    let wrong_headers = [
        String::new(),
        "Authorization: \r\n".to_owned(),
        "Authorization: Bearer\r\n".to_owned(),
        "Authorization: Bearer \r\n".to_owned(),
        format!("Authorization: {TOKEN}\r\n"),
        format!("Authorization: Basic {TOKEN}\r\n"),
        format!("Authorization: Bearer {}\r\n", &TOKEN[1..]),
        format!("Authorization: Bearer {TOKEN}0\r\n"),
        format!("Authorization: Bearer {}\r\n", TOKEN.to_uppercase()),
        format!("Authorization: Bearer  {TOKEN}\r\n"),
        format!("Authorization: Bearer {TOKEN}, Bearer {TOKEN}\r\n"),
        format!("{right}{right}"),
        format!("{right}Authorization: Bearer wrong\r\n"),
        format!("X-Api-Key: {TOKEN}\r\n"),
        format!("Cookie: token={TOKEN}\r\n"),
    ];
    for (method, path) in PATHS {
        for headers in &wrong_headers {
            let answer = api.ask_without_token(method, path, headers, "");
            assert_eq!(
                (answer.status, &*answer.error()),
                (401, "unauthorized"),
                "{path} {headers:?}"
            );
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert_eq!(answer.header("etag"), None);
        }
        for name in ["token", "access_token", "api_key", "TOKEN", "%74oken"] {
            for headers in ["", &right] {
                let target = format!("{path}?{name}={TOKEN}");
                let answer = api.ask_without_token(method, &target, headers, "");
                assert_eq!(answer.status, 401, "{target} {headers:?}");
            }
        }
    }
    for path in ["/nowhere", "/admin", "//", "/./", "/healthz/", "/docs/x", "/%2e"] {
        assert_eq!(api.ask_without_token("GET", path, "", "").status, 401, "{path}");
    }
    for scheme in ["bearer", "BEARER"] {
        let header = format!("authorization: {scheme} {TOKEN}\r\n");
        assert_eq!(api.ask_without_token("GET", "/admin/alerts", &header, "").status, 200);
    }
    for path in ["/", "/docs", "/healthz"] {
        assert_eq!(api.ask_without_token("GET", path, "", "").status, 200, "{path}");
    }
}

#[test]
fn wrong_tokens_are_counted_by_address_and_the_right_one_still_works() {
    let api = empty(|_| {});
    let ask = |client: &str, token: &str| {
        let request = format!(
            "GET /admin/trend HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9, {client}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        api.raw(&request).unwrap()
    };
    let statuses: Vec<u16> = (0..40).map(|_| ask("1.2.3.4", "wrong").status).collect();
    let first_refused = statuses.iter().position(|status| *status == 429);
    assert!(first_refused.is_some_and(|at| (10..=30).contains(&at)), "{statuses:?}");
    let answer = ask("1.2.3.4", "wrong");
    assert_eq!(answer.error(), "too_many_requests");
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(ask("1.2.3.4", TOKEN).status, 200, "guessing must not lock its owner out");
    assert_eq!(ask("1.2.3.5", "wrong").status, 401, "another address is counted by itself");
}

#[test]
fn an_address_that_asks_too_often_has_to_wait() {
    let api = empty(|options| {
        options.rate_per_second = 5;
        options.behind_proxy = false;
    });
    let ask = || api.ask_without_token("GET", "/healthz", "", "");
    let answers: Vec<_> = (0..200).map(|_| ask()).collect();
    let refused =
        answers.iter().find(|answer| answer.status == 429).expect("one of 200 is refused");
    assert_eq!(refused.error(), "too_many_requests");
    assert!(refused.header("retry-after").is_some());
    assert!(answers.iter().filter(|answer| answer.status == 200).count() >= 5);
}

#[test]
fn methods_that_a_path_does_not_know_are_405_and_none_changes_anything() {
    let (_, api) = damaged();
    for (known, path) in PATHS {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "GET", "BREW"] {
            if method == known {
                continue;
            }
            let answer = api.ask(method, path, "", "");
            assert_eq!(
                (answer.status, &*answer.error()),
                (405, "method_not_allowed"),
                "{method} {path}"
            );
            let allow = answer.header("allow").unwrap();
            assert_eq!(allow, if known == "GET" { "GET,HEAD" } else { "POST" }, "{path}");
        }
    }
}

#[test]
fn bodies_have_one_type_one_form_and_a_size() {
    let (_, api) = damaged();
    let path = "/admin/migration/validate";
    let send = |headers: &str, body: &str| {
        let answer = api.ask("POST", path, headers, body);
        (answer.status, answer.error())
    };
    let json = "Content-Type: application/json\r\n";
    let media = (415, "unsupported_media_type".to_owned());
    assert_eq!(send("", "{}"), media);
    assert_eq!(send("Content-Type: text/plain\r\n", "{}"), media);
    assert_eq!(send("Content-Type: application/xml\r\n", ""), media);
    let form = (400, "bad_request".to_owned());
    for body in ["{", "[]", "null", "{\"apply\":true}", "\u{feff}{}"] {
        assert_eq!(send(json, body), form, "{body}");
    }
    let large = "x".repeat(64 * 1024 + 1);
    assert_eq!(send(json, &large), (413, "too_large".to_owned()));
    let chunk = "x".repeat(0x1000);
    let chunks = format!("1000\r\n{chunk}\r\n").repeat(17);
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n{json}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunks}0\r\n\r\n"
    );
    let answer = api.raw(&request).unwrap();
    assert_eq!((answer.status, &*answer.error()), (413, "too_large"));
    let declared = format!("{json}Content-Length: 99999999999\r\n");
    let answer = api.ask("POST", path, &declared, "");
    assert_eq!((answer.status, &*answer.error()), (413, "too_large"), "before any of it comes");
}

#[test]
fn headers_have_a_size() {
    let (_, api) = damaged();
    let padding = |bytes: usize| format!("X-Padding: {}\r\n", "x".repeat(bytes));
    let answer = api.ask("GET", "/admin/alerts", &padding(17_000), "");
    assert_eq!((answer.status, &*answer.error()), (431, "headers_too_large"));
    assert_eq!(api.ask("GET", "/admin/alerts", &padding(8_000), "").status, 200);
    for headers in [padding(2_000_000), "X-Many: x\r\n".repeat(1_000)] {
        assert_eq!(api.ask("GET", "/admin/alerts", &headers, "").status, 431);
    }
}

#[test]
fn a_body_that_dribbles_is_cut_off() {
    let (_, api) = damaged();
    let mut stream = connect(api.address);
    let head = format!(
        "POST /admin/migration/validate HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let answer = exchange(stream, b"").expect("an answer although the body never ends");
    assert_eq!((answer.status, &*answer.error()), (408, "timeout"));
}

#[test]
fn a_head_that_dribbles_is_cut_off() {
    let (_, api) = damaged();
    let mut stream = connect(api.address);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
    assert!(exchange(stream, b"").is_none_or(|answer| answer.status == 408));
    // A client that says nothing at all.
    assert!(exchange(connect(api.address), b"").is_none_or(|answer| answer.status == 408));
}

#[test]
fn a_client_that_never_reads_its_answers_is_cut_off() {
    let (_, api) = damaged();
    let mut stream = connect(api.address);
    stream.set_write_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let error = loop {
        if let Err(error) = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") {
            break error.kind();
        }
    };
    let cut_off = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    assert!(cut_off.contains(&error), "it could still not send after a minute: {error:?}");
}

#[test]
fn one_address_cannot_take_all_connections() {
    let api = empty(|options| options.behind_proxy = false);
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let ask = |mut stream: &TcpStream| {
        let _ = stream.write_all(request); // of one that is closed it may fail
        let mut first = [0; 1];
        matches!(stream.read(&mut first), Ok(1))
    };
    let mut held: Vec<TcpStream> = (0..64).map(|_| connect(api.address)).collect();
    assert!(held.iter().all(ask), "64 are served");
    assert!(!ask(&connect(api.address)), "one more is closed");
    assert!(ask(&connect_from("127.0.0.2", api.address)), "another address is counted by itself");
    held.truncate(1);
    while !ask(&connect(api.address)) {} // closed ones leave room
    let behind = empty(|_| {});
    let held: Vec<TcpStream> = (0..65).map(|_| connect(behind.address)).collect();
    assert!(held.iter().all(ask), "a proxy asks for many");
}

/// A connection from another loopback address.
fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source.parse().unwrap(), 0)).unwrap();
        socket.connect(address).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

#[test]
fn on_loopback_only_loopback_names_are_served() {
    let api = empty(|options| options.behind_proxy = false);
    let ask = |target: &str, hosts: &str| {
        let request = format!(
            "GET {target} HTTP/1.1\r\n{hosts}Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        );
        api.raw(&request).unwrap()
    };
    for host in ["localhost", "localhost:3000", "127.0.0.1:1", "[::1]:3000"] {
        assert_eq!(ask("/admin/trend", &format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:3000", "localhost.evil.example", "10.1.2.3"] {
        for target in ["/", "/healthz", "/admin/trend"] {
            let answer = ask(target, &format!("Host: {host}\r\n"));
            assert_eq!((answer.status, &*answer.error()), (421, "misdirected"), "{host}");
        }
    }
    assert_eq!(ask("http://evil.example/admin/trend", "Host: localhost\r\n").status, 421);
    for hosts in ["", "Host: localhost\r\nHost: evil.example\r\n"] {
        assert_eq!(ask("/admin/trend", hosts).status, 400, "{hosts:?}");
    }
    let behind = empty(|_| {});
    let request = "GET /healthz HTTP/1.1\r\nHost: ledger.example\r\nConnection: close\r\n\r\n";
    assert_eq!(behind.raw(request).unwrap().status, 200, "a proxy passes its own name on");
}

#[test]
fn every_answer_is_hardened_and_none_lets_other_origins_read() {
    let (_, api) = damaged();
    let asked = [
        api.get("/admin/alerts"),
        api.get("/metrics"),
        api.get("/nowhere"),
        api.get("/admin/alerts?x=1"),
        api.ask("PUT", "/admin/alerts", "Origin: http://evil.example\r\n", ""),
        api.ask(
            "OPTIONS",
            "/admin/alerts",
            "Origin: http://evil.example\r\nAccess-Control-Request-Method: GET\r\n",
            "",
        ),
        api.ask_without_token("GET", "/admin/alerts", "Origin: http://evil.example\r\n", ""),
        api.ask_without_token("GET", "/", "", ""),
        api.ask_without_token("GET", "/docs", "", ""),
    ];
    for answer in asked {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!answer.everything().to_lowercase().contains("access-control-allow"), "{answer:?}");
        assert_eq!(answer.header("strict-transport-security"), None);
        assert_eq!(answer.header("server"), None);
    }
}

#[test]
fn tls_is_spoken_and_plain_text_is_not() {
    let api = empty(|options| options.tls = Some(tls()));
    let certificate = std::fs::read(tls().cert).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::pem::PemObject;
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&certificate).unwrap()).unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let stream = rustls::StreamOwned::new(client, connect(api.address));
        let request = format!(
            "GET /admin/trend HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        );
        let answer = exchange(stream, request.as_bytes()).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    }
    let mut plain = connect(api.address);
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut told = Vec::new();
    let _ = plain.read_to_end(&mut told); // it may be reset
    assert!(!told.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn other_addresses_than_loopback_want_tls_or_a_proxy() {
    let with = |change: &dyn Fn(&mut ApiOptions)| {
        let mut options = ApiOptions { behind_proxy: false, ..api_options() };
        change(&mut options);
        options.check()
    };
    for address in ["0.0.0.0:0", "[::]:0", "10.0.0.1:3000", "[2001:db8::1]:443"] {
        let listen = address.parse().unwrap();
        let refused = with(&|options| options.listen = listen);
        assert!(matches!(refused, Err(ServeError::Unprotected(at)) if at == listen), "{address}");
        for allowed in [
            with(&|options| (options.listen, options.tls) = (listen, Some(tls()))),
            with(&|options| (options.listen, options.behind_proxy) = (listen, true)),
        ] {
            assert!(allowed.is_ok(), "{allowed:?}");
        }
    }
    for address in ["127.0.0.1:0", "[::1]:0", "127.1.2.3:0"] {
        let listen = address.parse().unwrap();
        assert!(with(&|options| options.listen = listen).is_ok(), "{address}");
    }
}

#[test]
fn a_bad_certificate_or_key_is_said_before_anything_listens() {
    let directory = tempfile::tempdir().unwrap();
    let garbage = directory.path().join("garbage");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n")
        .unwrap();
    let refused = |cert, key| {
        let options = ApiOptions { tls: Some(Tls { cert, key }), ..api_options() };
        match options.check() {
            Err(ServeError::Tls(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let Tls { cert, key } = tls();
    let missing = directory.path().join("missing");
    assert!(matches!(refused(missing, key.clone()), TlsError::Unreadable { .. }));
    assert!(matches!(refused(garbage.clone(), key.clone()), TlsError::NoCertificate { .. }));
    assert!(matches!(refused(key, cert.clone()), TlsError::NoCertificate { .. }));
    assert!(matches!(refused(cert.clone(), garbage), TlsError::NoKey { .. }));
    assert!(matches!(refused(cert.clone(), cert), TlsError::NoKey { .. }));
}

#[test]
fn a_port_that_is_taken_is_said() {
    let api = empty(|_| {});
    let options = ApiOptions { listen: api.address, ..api_options() };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let board = empty_board();
    let monitor = Arc::new(monitor_options("mongodb://127.0.0.1:1"));
    let (_stop, stopped) = tokio::sync::watch::channel(false);
    let served = runtime.block_on(remelt::api::serve(board, monitor, options, stopped, |_| {}));
    assert!(matches!(served, Err(ServeError::Listen { .. })), "{served:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_the_ledger_is_in_any_answer_header_or_metric() {
    let checked = Checked::generated(300, 11, true).await;
    let api = checked.serve(api_options());
    let secrets = secrets_in(&checked.tokens);
    assert!(secrets.len() > 300, "{}", secrets.len());
    let mut users: Vec<String> =
        checked.truth["perUser"].as_object().unwrap().keys().take(10).cloned().collect();
    users.push("nobody".to_owned());
    let mut answers: Vec<_> = PATHS
        .iter()
        .filter(|(_, path)| !path.ends_with("events"))
        .map(|(method, path)| api.ask(method, path, "", ""))
        .collect();
    answers.extend(users.iter().map(|npub| api.get(&format!("/admin/users/{npub}"))));
    answers.extend(
        (0..5).map(|page| api.get(&format!("/admin/findings?limit=1000&offset={}", page * 1000))),
    );
    answers.extend([api.get("/"), api.get("/docs")]);
    for answer in &answers {
        let told = answer.everything();
        assert!(!told.contains(TOKEN), "the token");
        assert!(!told.contains("panicked"));
        for secret in &secrets {
            assert!(!told.contains(secret.as_str()), "{secret} in {told}");
        }
    }
}

/// The values of `secret` and `C` of every proof.
fn secrets_in(tokens: &[u8]) -> Vec<String> {
    let mut secrets = Vec::new();
    for document in crate::support::exports::split(tokens) {
        let Ok(document) = mongodb::bson::Document::try_from(
            &*mongodb::bson::RawDocumentBuf::from_bytes(document).unwrap(),
        ) else {
            continue;
        };
        for proof in document.get_array("proofs").into_iter().flatten() {
            let Some(proof) = proof.as_document() else { continue };
            for name in ["secret", "C"] {
                secrets.extend(
                    proof.get_str(name).ok().filter(|text| text.len() > 8).map(str::to_owned),
                );
            }
        }
    }
    secrets
}
