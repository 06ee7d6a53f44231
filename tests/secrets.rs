//! No secret of any input appears in any output, in no spelling.

use crate::support::canaries::{CANARIES, base64, find_secret};
use crate::support::command::{Outcome, arg, run};
use crate::support::dumps::write_dump;
use crate::support::files::files_below;
use crate::support::raw::{array, document, element, int32, nested, string};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn assert_silent(outcome: &Outcome) {
    for (stream, text) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
        let found = find_secret(text.as_bytes());
        assert!(found.is_none(), "{found:?} in {stream}: {outcome:#?}");
    }
}

/// Every file below `directory` but copies of the snapshot's own collections.
fn assert_no_secret_below(directory: &Path) {
    for (name, bytes) in files_below(directory) {
        if !name.ends_with("cashu_tokens.bson") && !name.ends_with("cashu_wallets.bson") {
            let found = find_secret(&bytes);
            assert!(found.is_none(), "{found:?} in {name}");
        }
    }
}

fn token(number: i32, secret: &str) -> Vec<u8> {
    let text = |index: usize| string(CANARIES[index]);
    let proof = nested(&[
        element("id", &text(7)),
        element("amount", &int32(8)),
        element("secret", &string(secret)),
        element("C", &text(1)),
        element("witness", &nested(&[element("signatures", &array(&[text(2)]))])),
        element("dleq", &nested(&[element("r", &text(3))])),
    ]);
    let metadata = [element("source", &string("lightning")), element("token", &text(5))];
    document(&[
        element("_id", &int32(number)),
        element("npub", &string("npub-of-a-user")),
        element("mint_url", &string("https://mint.example")),
        element("status", &string("unspent")),
        element("transaction_type", &string("melted")),
        element("transaction_id", &string("a-transaction")),
        element("total_amount", &int32(9)),
        element("proofs", &array(&[proof.clone(), proof])),
        element("metadata", &nested(&metadata)),
        element("note", &text(6)),
        element("extra", &nested(&[element("inside", &text(8))])),
    ])
}

fn wallet(number: i32) -> Vec<u8> {
    document(&[
        element("_id", &int32(number)),
        element("npub", &string("npub-of-a-user")),
        element("p2pk_privkey", &string(CANARIES[4])),
    ])
}

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn dump(&self, name: &str, tokens: &[Vec<u8>], wallets: &[Vec<u8>]) -> PathBuf {
        let root = self.at("dumps").join(name);
        write_dump(&root, &tokens.concat(), Some(&wallets.concat()));
        root
    }
}

fn place() -> Place {
    Place { root: tempfile::tempdir().unwrap() }
}

#[test]
fn the_search_finds_every_spelling() {
    let canary = CANARIES[3];
    let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw");
    let odd = CANARIES[1];
    for text in [
        serde_json::json!({ "a": odd }).to_string(),
        format!("{odd:?}"),
        format!("a,\"{}\"", odd.replace('"', "\"\"")),
        "mongodb://u:canary1C%22%27%5C%2F%3C%26%3E%20%C3%A9%25%2Bcanary@host".to_owned(),
        "canary1C\\u0022'\\u005c/<&>\\u0020\\u00e9%+canary".to_owned(),
    ] {
        assert!(find_secret(text.as_bytes()).is_some(), "{text}");
    }
    for text in [
        format!("<{canary}>"),
        hex.to_uppercase(),
        base64(canary.as_bytes()),
        base64(format!("a{canary}b").as_bytes()),
        base64(format!("ab{canary}").as_bytes()),
        hex,
    ] {
        assert!(find_secret(text.as_bytes()).is_some(), "{text}");
    }
    assert!(find_secret(b"nothing of the kind").is_none());
}

#[test]
fn no_secret_of_a_ledger_appears_in_any_output() {
    let place = place();
    let tokens = [token(1, CANARIES[0]), token(2, CANARIES[0]), token(3, "another secret")];
    let dump = place.dump("one", &tokens, &[wallet(1)]);
    let changed = [token(1, CANARIES[9]), token(2, CANARIES[0]), token(4, CANARIES[0])];
    let other = place.dump("other", &changed, &[wallet(2)]);
    let (plan, repaired, restored) = (place.at("plan"), place.at("repaired"), place.at("restored"));
    let (kept, dump, other) = (place.at("kept"), arg(&dump), arg(&other));
    let consent = ["--confirm", "--yes"];
    let commands: Vec<Vec<&str>> = vec![
        vec!["analyze", dump, arg(&plan), "--parquet"],
        vec!["verify", arg(&plan), "--snapshot", dump],
        vec!["apply", arg(&plan), "--snapshot", dump, "--out", arg(&repaired)],
        [vec!["apply", arg(&plan), "--snapshot", dump, "--out", arg(&repaired)], consent.to_vec()]
            .concat(),
        [
            vec!["rollback", arg(&plan), "--snapshot", arg(&repaired), "--out", arg(&restored)],
            consent.to_vec(),
        ]
        .concat(),
        vec!["verify", arg(&plan), "--snapshot", arg(&repaired)],
        // Drift, and another snapshot.
        [vec!["apply", arg(&plan), "--snapshot", other, "--out", arg(&kept)], consent.to_vec()]
            .concat(),
        vec!["verify", arg(&plan), "--snapshot", other],
        vec!["audit", arg(&plan)],
        vec!["audit", arg(&plan), "--snapshot", dump],
        vec!["audit", arg(&plan), "--snapshot", other],
        vec!["preview", arg(&plan), "-vv"],
        vec!["explain", arg(&plan), "{\"$numberInt\":\"1\"}", "--snapshot", dump, "-vv"],
        vec!["explain", arg(&plan), CANARIES[0], "--snapshot", dump, "--log-format", "json"],
        vec!["diff", dump, arg(&repaired)],
        vec!["diff", dump, other],
        vec!["rehearse", dump, "--keep", arg(&kept)],
    ];
    for command in commands {
        for form in [None, Some("--json")] {
            // The second form of what was written already is a refusal.
            assert_silent(&run(command.iter().copied().chain(form)));
        }
    }
    for written in [&plan, &repaired, &restored, &kept] {
        assert!(written.is_dir(), "{written:?}");
        assert_no_secret_below(written);
    }
    for report in ["findings.csv", "report.html"] {
        let text = fs::read_to_string(plan.join("reports").join(report)).unwrap();
        assert!(text.contains("duplicate_secrets"), "{report}: the secret's finding, not itself");
    }
    assert!(find_secret(&fs::read(repaired.join("nctool/cashu_tokens.bson")).unwrap()).is_some());
}

#[test]
fn money_in_the_place_of_a_date_is_shown_neither_by_a_command_nor_in_a_report() {
    let place = place();
    let encoded = format!("cashuA{}", CANARIES[5]);
    let proofs = format!("[{{\"secret\":\"{}\",\"C\":\"02\"}}]", CANARIES[0]);
    let token = |number: i32, spent_at: &str, updated_at: &str| {
        document(&[
            element("_id", &int32(number)),
            element("npub", &string("npub-of-a-user")),
            element("status", &string("unspent")),
            element("transaction_type", &string("melted")),
            element("total_amount", &int32(9)),
            element("spent_at", &string(spent_at)),
            element("updatedAt", &string(updated_at)),
        ])
    };
    // What has no mark of ecash is not shown either where it stands in a date's place.
    let tokens = [token(1, &encoded, &proofs), token(2, &proofs, &encoded)];
    let dump =
        place.dump("dates", &[&tokens[..], &[token(3, CANARIES[1], CANARIES[8])]].concat(), &[]);
    let (plan, repaired, dump) = (place.at("plan"), place.at("repaired"), arg(&dump));
    let apply = ["apply", arg(&plan), "--snapshot", dump, "--out", arg(&repaired)];
    assert_silent(&run(["analyze", dump, arg(&plan)]).exits(0));
    assert_silent(&run(apply.into_iter().chain(["--confirm", "--yes"])).exits(0));
    for form in [None, Some("--json")] {
        for id in 1..=3 {
            let id = format!("{{\"$numberInt\":\"{id}\"}}");
            let explain = ["explain", arg(&plan), &id, "--snapshot", dump];
            let explained = run(explain.into_iter().chain(form)).exits(0);
            assert_silent(&explained);
            assert_eq!(explained.stdout.matches("(String)").count(), 2, "{explained:#?}");
        }
        assert_silent(&run(["preview", arg(&plan)].into_iter().chain(form)).exits(0));
    }
    assert_no_secret_below(&plan.join("reports"));
}

#[test]
fn no_secret_of_a_damaged_dump_appears_in_a_message() {
    let place = place();
    let (good, keys) = (token(1, CANARIES[0]), wallet(1));
    let mut broken = token(2, CANARIES[0]);
    let at = broken.windows(7).position(|window| window == b"secret\0").unwrap();
    broken[at - 1] = 0x30;
    let tokens_cut = [good.clone(), good[..good.len() - 9].to_vec()];
    let cases = [
        ("broken", vec![good.clone(), broken], vec![keys.clone()]),
        ("cut", tokens_cut.to_vec(), vec![keys.clone()]),
        ("twice", vec![good.clone(), good.clone()], vec![keys.clone()]),
        ("wallets", vec![good.clone()], vec![keys[..keys.len() - 3].to_vec()]),
    ];
    for (name, tokens, wallets) in cases {
        let dump = place.dump(name, &tokens, &wallets);
        for form in [None, Some("--json")] {
            let plan = place.at("plan");
            assert_silent(
                &run(["analyze", arg(&dump), arg(&plan)].into_iter().chain(form)).exits(1),
            );
            assert_silent(&run(["rehearse", arg(&dump)].into_iter().chain(form)).exits(1));
            let diff = run(["diff", arg(&dump), arg(&dump)].into_iter().chain(form));
            assert_silent(&diff);
        }
    }
}

#[test]
fn the_password_of_a_uri_given_in_a_wrong_place_is_not_shown() {
    let place = place();
    let uris = [
        format!("mongodb://user:{}@host/nctool", CANARIES[0]),
        format!("mongodb+srv://user:{}@host", CANARIES[0]),
        format!("mongodb://user:p@{}@host/nctool?x=y", CANARIES[0]),
        format!("mongodb://user:a/{}@host/nctool", CANARIES[0]),
        format!("mongodb://user:a {}@host/nctool", CANARIES[0]),
        format!("mongodb://user:{} b@host/nctool", CANARIES[0]),
    ];
    let (nowhere, plan, made) = (place.at("nowhere"), place.at("plan"), place.at("made"));
    let dump = place.dump("good", &[token(1, "a secret")], &[wallet(1)]);
    run(["analyze", arg(&dump), arg(&made)]).exits(0);
    for uri in &uris {
        let commands: Vec<Vec<&str>> = vec![
            vec![uri],
            vec!["analyze", uri],
            vec!["analyze", uri, arg(&plan)],
            vec!["analyze", arg(&nowhere), uri],
            vec!["rehearse", uri],
            vec!["rehearse", arg(&nowhere), "--keep", uri],
            vec!["diff", uri, uri],
            vec!["verify", uri, "--snapshot", uri],
            vec!["apply", arg(&plan), "--uri", uri, "--confirm"],
            vec!["apply", uri, "--snapshot", uri, "--out", uri],
            vec!["analyze", arg(&nowhere), arg(&plan), "--db", uri],
            vec!["analyze", arg(&nowhere), arg(&plan), "--memory", uri],
            vec!["analyze", arg(&nowhere), arg(&plan), "--fail-on", uri],
            vec!["analyze", arg(&nowhere), arg(&plan), "--repair-time", uri],
            vec!["generate", arg(&nowhere), "--tokens", uri],
            vec!["status", "--config", uri],
            vec!["status", "--log-format", uri],
            vec!["explain", arg(&made), uri],
            vec!["explain", arg(&made), "x", "--snapshot", uri],
            vec!["man", uri],
            vec!["completions", uri],
            vec!["generate", uri, "--tokens", "5"],
            vec!["analyze", arg(&dump), uri],
            vec!["rehearse", arg(&dump), "--keep", uri],
            vec!["apply", arg(&made), "--snapshot", arg(&dump), "--out", uri, "--confirm", "--yes"],
        ];
        for command in commands {
            for form in [None, Some("--json")] {
                let outcome = run(command.iter().copied().chain(form));
                assert!(matches!(outcome.code, Some(1..=3)), "{outcome:#?}");
                assert!(find_secret(outcome.stdout.as_bytes()).is_none(), "{outcome:#?}");
                assert!(find_secret(outcome.stderr.as_bytes()).is_none(), "{outcome:#?}");
            }
        }
    }
}

/// Every file and directory at and below `path`, with its mode.
fn modes(path: &Path) -> Vec<(PathBuf, bool, u32)> {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mut all =
        vec![(path.to_path_buf(), metadata.is_dir(), metadata.permissions().mode() & 0o7777)];
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            all.extend(modes(&entry.unwrap().path()));
        }
    }
    all
}

#[test]
fn everything_written_is_readable_by_its_owner_alone() {
    let place = place();
    let (ledger, plan) = (place.at("ledger"), place.at("deep/er/plan"));
    let (repaired, restored, kept) = (place.at("repaired"), place.at("restored"), place.at("kept"));
    let (ledger, plan) = (arg(&ledger), arg(&plan));
    let (repaired, restored, kept) = (arg(&repaired), arg(&restored), arg(&kept));
    let consent = ["--confirm", "--yes"];
    run(["generate", ledger, "--tokens", "40"]).exits(0);
    run(["analyze", ledger, plan]).exits(0);
    let apply = ["apply", plan, "--snapshot", ledger, "--out", repaired];
    run(apply.into_iter().chain(consent)).exits(0);
    let rollback = ["rollback", plan, "--snapshot", repaired, "--out", restored];
    run(rollback.into_iter().chain(consent)).exits(0);
    run(["rehearse", ledger, "--keep", kept]).exits(0);
    let mut seen = 0;
    for name in ["ledger", "deep", "repaired", "restored", "kept"] {
        for (path, is_directory, mode) in modes(&place.at(name)) {
            let expected = if is_directory { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{path:?} has mode {mode:o}");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen} files and directories");
}
