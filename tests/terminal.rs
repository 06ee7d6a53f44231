//! What people read: every command's output and help on 80 columns without colour, as expected.
//!
//! `REMELT_BLESS=1` writes the expected files anew; look at the difference before it is committed. Only what
//! must vary is evened out: times, rates, ids of runs, addresses, and what the clock makes of a plan's age.

use crate::goldens::{compare, fixtures};
use crate::support::command::{Outcome, arg, finish, keys, remelt};
use crate::support::dumps::write_dump;
use crate::support::files::files_below;
use crate::support::live::{Ledger, generated, melted};
use crate::support::raw::{RawValue, document, element, int32, string};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Paths and hashes are as long as they are; all else fits.
fn assert_fits(what: &str, text: &str) {
    let is_long = |line: &&str| line.chars().count() > 80 && !line.contains("SHA-256");
    assert_eq!(text.lines().find(is_long), None, "{what}");
    assert!(!text.contains(['\x1b', '\r']), "{what}: {text:?}");
}

/// `text` with what must vary evened out.
fn evened(text: &str, replaced: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in replaced {
        text = text.replace(from, to);
    }
    text.lines().map(|line| evened_line(line) + "\n").collect()
}

/// The line with what varies in it replaced, and what stands to the right of that where it stood.
fn evened_line(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut even = String::new();
    let mut rest = line;
    for (place, word) in words.iter().enumerate() {
        let (blanks, after) = rest.split_at(rest.find(word).unwrap());
        rest = &after[word.len()..];
        let next = words.get(place + 1).map(|next| next.trim_end_matches([',', ';', ':', ')']));
        let shown = match line.contains("B free, about ") && place < 2 {
            true => "#".to_owned(),
            false => evened_word(word, next, line.contains(" UTC, ")),
        };
        let wider =
            if place > 0 && blanks.len() > 1 { word.len().saturating_sub(shown.len()) } else { 0 };
        even += &format!("{blanks}{}{shown}", " ".repeat(wider));
    }
    even + rest
}

fn evened_word(word: &str, next: Option<&str>, is_dated: bool) -> String {
    let has_digit = word.contains(|c: char| c.is_ascii_digit());
    let is_number = has_digit && word.chars().all(|c| c.is_ascii_digit() || ".,".contains(c));
    let is_time = is_number && matches!(next, Some("s" | "ms" | "hours" | "days"));
    let is_rate = has_digit && word.contains("/s");
    let is_part_of_rate = is_number && next.is_some_and(|next| next.ends_with("B/s"));
    let is_date = is_dated
        && has_digit
        && word.contains(['-', ':'])
        && word.chars().all(|c| c.is_ascii_digit() || "-:".contains(c));
    if is_time || is_rate || is_part_of_rate || is_date {
        return "#".to_owned();
    }
    match word.contains("-apply-") || word.contains("-rollback-") {
        true => stamp_evened(word),
        false => word.to_owned(),
    }
}

/// The word with the 17 digits of a time in it replaced.
fn stamp_evened(word: &str) -> String {
    let at = (0..word.len()).find(|at| {
        word.get(*at..at + 17).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
    });
    at.map_or(word.to_owned(), |at| format!("{}WHEN{}", &word[..at], &word[at + 17..]))
}

fn golden(name: &str, text: &str) {
    compare(&fixtures().join("terminal").join(name), text.as_bytes());
}

/// Runs `line` in `place`, as it is typed there.
fn typed(place: &Path, line: &str) -> Command {
    let mut command = remelt(line.split(' ').filter(|word| !word.is_empty()));
    command.current_dir(place).env("COLUMNS", "80");
    command
}

/// A transcript: the command, what it says on both streams, and its exit code when that is not 0.
fn transcript(line: &str, outcome: &Outcome, replaced: &[(&str, &str)]) -> String {
    let said = evened(&format!("{}{}", outcome.stdout, outcome.stderr), replaced);
    let code = match outcome.code {
        Some(0) => String::new(),
        code => format!("(exit code {})\n", code.unwrap()),
    };
    format!("$ remelt {line}\n{said}{code}\n")
}

/// The small fixture with a plan of it.
fn place_with_plan() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let dump = root.path().join("dump/nctool");
    fs::create_dir_all(&dump).unwrap();
    for (name, bytes) in files_below(&fixtures().join("nctool")) {
        fs::write(dump.join(name), bytes).unwrap();
    }
    finish(&mut typed(root.path(), "analyze dump plan --repair-time 2026-01-01T00:00:00Z -q"))
        .exits(0);
    root
}

#[test]
fn every_offline_command_reads_as_expected() {
    let place = place_with_plan();
    let mut all = String::new();
    for line in [
        "rehearse dump --repair-time 2026-01-01T00:00:00Z",
        "analyze dump other --repair-time 2026-01-01T00:00:00Z",
        "preview plan",
        "explain plan 677e1c352f8ca575b4000026",
        "explain plan 677e1c352f8ca575b4000026 --snapshot dump",
        "explain plan 6790fa5b2f8ca575b40000fa",
        "explain plan 6790fa5b2f8ca575b40000fa --snapshot dump",
        "audit plan",
        "audit plan --snapshot dump",
        "apply plan --snapshot dump --out copy",
        "apply plan --snapshot dump --out copy --confirm",
        "apply plan --snapshot dump --out copy --confirm --yes",
        "verify plan --snapshot copy",
        "verify plan --snapshot dump",
        "diff dump copy --limit 2",
        "rollback plan --snapshot copy --out restored --confirm --yes",
        "diff dump restored",
        "generate ledger --tokens 50",
        "man pages",
    ] {
        let outcome = finish(&mut typed(place.path(), line));
        assert_fits(line, &outcome.stdout);
        all += &transcript(line, &outcome, &[]);
    }
    golden("offline.txt", &all);
}

#[test]
fn mistakes_are_answered_as_expected() {
    let place = place_with_plan();
    let absolute = place.path().canonicalize().unwrap();
    fs::create_dir(place.path().join("empty")).unwrap();
    fs::write(place.path().join("a-file"), "no ledger").unwrap();
    let mut all = String::new();
    for line in [
        "",
        "analyse dump plan",
        "analyze",
        "analyze dmp other",
        "analyze a-file other",
        "analyze empty other",
        "analyze dump plan",
        "analyze dump dump/plan",
        "analyze dump /proc/nowhere/plan",
        "analyze dump other --memory lots",
        "analyze dump other --fail-on duplicat_secrets",
        "analyze dump other --thread 2",
        "preview dump",
        "preview a-file",
        "explain plan 123",
        "explain plan",
        "validate plan",
        "apply plan",
        "apply plan --confrm",
        "apply plan --snapshot dump",
        "verify plan --snapshot nowhere",
        "rollback plan/reports/none --uri mongodb://127.0.0.1:1",
        "status",
        "status --uri db.example",
        "status --uri mongo://user:password@db.example",
        "status --uri mongodb://user:pass/word@db.example",
        "status --uri mongodb://user:password@127.0.0.1:1/?serverSelectionTimeoutMS=50",
        "diff dump",
        "diff dump nowhere",
        "audit dump",
        "serve --uri mongodb://127.0.0.1:1",
        "monitor --once --uri mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=50",
        "completions bsh",
        "man a-file",
    ] {
        let outcome = finish(&mut typed(place.path(), line));
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!said.contains("password@") && !said.contains("word@"), "{said}");
        let code = outcome.code.unwrap();
        assert!((1..=3).contains(&code), "{line}: {outcome:?}");
        all += &transcript(line, &outcome, &[(arg(&absolute), "PLACE")]);
    }
    golden("mistakes.txt", &all);
}

/// The names of all commands.
fn commands() -> Vec<String> {
    let all = finish(&mut remelt(["--help"])).exits(0).stdout;
    let (_, listed) = all.split_once("Commands:\n").unwrap();
    let names = listed.lines().take_while(|line| !line.is_empty());
    let names = names.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[test]
fn the_help_of_every_command_reads_as_expected_and_has_an_example() {
    let place = tempfile::tempdir().unwrap();
    golden("help/remelt.txt", &finish(&mut typed(place.path(), "--help")).exits(0).stdout);
    golden("help/remelt-short.txt", &finish(&mut typed(place.path(), "-h")).exits(0).stdout);
    for command in commands() {
        let help = finish(&mut typed(place.path(), &format!("{command} --help"))).exits(0).stdout;
        assert_fits(&command, &help);
        assert!(help.contains(&format!("\n  remelt {command} ")), "{command} has no example");
        golden(&format!("help/{command}.txt"), &help);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_on_a_server_reads_as_expected() {
    let ledger = Ledger::new(&generated(300, 1, true)).await;
    let place = tempfile::tempdir().unwrap();
    let host = ledger.uri.split("://").nth(1).unwrap().split(['/', '?']).next().unwrap().to_owned();
    let database = ledger.database.name().to_owned();
    let on = |line: &str| finish(typed(place.path(), line).env("MONGODB_URI", &ledger.uri));
    let mut told = Vec::new();
    for line in [
        "status",
        "export snapshot --without-wallets",
        "analyze snapshot plan --repair-time 2026-01-01T00:00:00Z --without-wallets",
        "validate plan",
        "apply plan",
        "apply plan --confirm --yes",
        "verify plan",
        "status",
        "apply plan --confirm --yes",
        "rollback plan",
        "rollback plan --confirm --yes",
        "rollback nosuchrun --confirm --yes",
        "status",
    ] {
        told.push((line, on(line)));
    }
    let preview = on("preview plan").exits(0).stdout;
    let measured = preview.lines().find(|line| line.starts_with("Time ")).unwrap().to_owned();
    assert!(measured.contains("at least") && measured.contains("measured"), "{measured}");
    assert_fits("preview", &preview);

    let status = on("status --json").exits(0).json();
    assert_eq!(keys(&status), ["migration", "runs", "health", "recommendations"]);
    let run = status["runs"][0]["runId"].as_str().unwrap().to_owned();
    // Documents of this export lie under the name of the test's own database.
    let snapshot = fs::read_to_string(place.path().join("snapshot/snapshot.json")).unwrap();
    let cluster_time = snapshot.split("\"clusterTime\"").nth(1).unwrap().split('"').nth(1).unwrap();
    let plan = fs::read_to_string(place.path().join("plan/plan.json")).unwrap();
    let sealed = plan.split("\"sha256\"").nth(1).unwrap().split('"').nth(1).unwrap();
    let exported = told.iter().find_map(|(_, it)| it.stdout.strip_prefix("Snapshot   "));
    let exported = exported.unwrap().lines().next().unwrap().to_owned();
    let replaced = [
        (exported.as_str(), "SNAPSHOT-SHA256"),
        (run.as_str(), "RUN"),
        (host.as_str(), "HOST"),
        (database.as_str(), "DATABASE"),
        (cluster_time, "CLUSTER-TIME"),
        (sealed, "PLAN-SHA256"),
    ];
    let mut all = String::new();
    for (line, outcome) in &told {
        assert_fits(line, &outcome.stdout);
        all += &transcript(line, outcome, &replaced);
    }
    golden("server.txt", &all);
}

/// What a command says on a terminal of its own, on which `answer` is typed.
fn on_a_terminal(place: &Path, line: &str, answer: &str) -> String {
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{} {line}", env!("CARGO_BIN_EXE_remelt")))
        .arg("/dev/null")
        .current_dir(place)
        .env("NO_COLOR", "1")
        .env("REMELT_CONFIG", "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program `script` (util-linux) gives the test a terminal");
    let mut typing = script.stdin.take().unwrap();
    std::io::Write::write_all(&mut typing, answer.as_bytes()).unwrap();
    let output = script.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}

#[test]
fn the_prompt_says_what_where_how_many_and_how_much() {
    let place = place_with_plan();
    let line = "apply plan --snapshot dump --out copy --confirm";
    let said = on_a_terminal(place.path(), line, "something else\n");
    for fact in ["45 tokens", "45 of 300 in cashu_tokens", "of 15 users", "131,522", "(nctool)"] {
        assert!(said.contains(fact), "{fact} is not in: {said}");
    }
    assert!(said.contains("nothing was done"), "{said}");
    assert!(!place.path().join("copy").exists());
    // Where the terminal echoes what was typed depends on who is quicker.
    golden("prompt.txt", &said.replacen("something else\n", "", 1));
}

#[test]
fn an_error_is_wrapped_on_a_terminal_and_one_line_for_a_script() {
    let place = place_with_plan();
    for (line, lines) in [("explain plan 123", 3), ("verify plan", 2), ("analyze dump plan", 2)] {
        let wrapped = on_a_terminal(place.path(), line, "");
        assert!(wrapped.trim_end().lines().count() >= lines, "{wrapped}");
        assert_fits(line, &wrapped);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{} {line}", env!("CARGO_BIN_EXE_remelt"))]);
        let plain = finish(shell.current_dir(place.path()).env("REMELT_CONFIG", "")).stderr;
        assert_eq!(plain.lines().count(), 2, "{plain}");
        assert_eq!(words(&wrapped), words(&plain));
    }
}

#[test]
fn colour_appears_when_it_is_wanted_and_changes_no_word() {
    let place = place_with_plan();
    let plain = finish(&mut typed(place.path(), "preview plan")).exits(0).stdout;
    let forced = |no_color: Option<&str>| {
        let mut command = typed(place.path(), "preview plan");
        command.env("CLICOLOR_FORCE", "1");
        if let Some(value) = no_color {
            command.env("NO_COLOR", value);
        }
        finish(&mut command).exits(0).stdout
    };
    let coloured = forced(None);
    assert!(coloured.contains("\x1b["), "{coloured}");
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once("\x1b[") {
        stripped += before;
        rest = after.split_once('m').unwrap().1;
    }
    assert_eq!(stripped + rest, plain);
    assert_eq!(forced(Some("1")), plain, "NO_COLOR goes first");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_command_works_as_it_is_printed() {
    let ledger = Ledger::new(&melted(5)).await;
    let place = tempfile::tempdir().unwrap();
    let shell = |command: &str| {
        let typed = command.replacen("remelt", env!("CARGO_BIN_EXE_remelt"), 1);
        let typed = typed.replace("URI", &format!("'{}'", ledger.uri));
        let mut shell = Command::new("sh");
        shell.args(["-c", &typed]).current_dir(place.path()).stdin(Stdio::null());
        let outcome = finish(shell.env_remove("MONGODB_URI").env("REMELT_CONFIG", "")).exits(0);
        assert!(!outcome.stdout.contains("mongodb://"), "{outcome:#?}");
        let mut lines = outcome.stdout.lines().rev();
        lines.find_map(|line| Some(line[line.find("remelt ")?..].to_owned()))
    };
    let analyze = shell("remelt export 'my snapshot' --without-wallets --uri URI").unwrap();
    let analyze = analyze.replace("PLAN_DIR", "\"it's a plan\" --without-wallets");
    let preview = shell(&analyze).unwrap();
    let validate = shell(&preview).unwrap();
    assert_eq!(validate, "remelt validate 'it'\\''s a plan' --uri URI");
    let apply = shell(&validate).unwrap();
    let verify = shell(&format!("{apply} --yes")).unwrap();
    assert_eq!(verify, "remelt verify 'it'\\''s a plan' --uri URI");
    assert_eq!(shell(&verify), None);
    let audit = shell(&verify.replace("verify", "audit").replace(" --uri URI", "")).unwrap();
    shell(&audit.replace("SNAPSHOT", "'my snapshot'"));
    let rollback = apply.replace("apply", "rollback");
    let database = format!(" --db {}", ledger.database.name());
    let status = shell(&format!("{rollback} --yes{database}")).unwrap();
    assert_eq!(status, format!("remelt status --uri URI{database}"));
    shell(&status);
    let copy = "--snapshot 'my snapshot' --out 'my copy' --confirm --yes";
    let verify = shell(&format!("{} {copy}", apply.split(" --uri").next().unwrap())).unwrap();
    shell(&verify);
}

#[test]
fn preview_and_explain_say_the_same_as_json() {
    let place = place_with_plan();
    let json =
        |line: &str| finish(&mut typed(place.path(), &format!("{line} --json"))).exits(0).json();
    let preview = json("preview plan");
    assert_eq!(
        keys(&preview),
        [
            "planSha256",
            "migrationName",
            "stats",
            "topUsers",
            "amounts",
            "months",
            "timeline",
            "riskAssessment"
        ]
    );
    let changes = preview["stats"]["tokensToMigrate"].as_u64().unwrap();
    let rows = preview["timeline"]["rows"].as_array().unwrap();
    let dated: u64 = rows.iter().map(|row| row["count"].as_u64().unwrap()).sum();
    assert_eq!(dated + preview["timeline"]["undated"].as_u64().unwrap(), changes);
    let amounts = preview["amounts"].as_array().unwrap().iter();
    assert_eq!(amounts.map(|row| row["count"].as_u64().unwrap()).sum::<u64>(), changes);
    let codes = |preview: &serde_json::Value| -> Vec<String> {
        let factors = preview["riskAssessment"]["factors"].as_array().unwrap();
        factors.iter().map(|factor| factor["code"].as_str().unwrap().to_owned()).collect()
    };
    for expected in ["below_zero", "foreign_dump", "deployment_unknown", "not_changed", "old"] {
        assert!(
            codes(&preview).contains(&expected.to_owned()),
            "{expected}: {:?}",
            codes(&preview)
        );
    }
    let user = &preview["topUsers"][0];
    let difference = |a: &str, b: &str| user[a].as_i64().unwrap() - user[b].as_i64().unwrap();
    assert_eq!(difference("unspentBefore", "unspentAfter"), user["totalAmount"].as_i64().unwrap());

    // A report that does not add up to the plan is not believed.
    let report = place.path().join("plan/reports/balance_deltas.csv");
    let text = fs::read_to_string(&report).unwrap();
    fs::write(&report, text.replacen(",36524\r\n", ",1\r\n", 1).replacen("-27360", "-27361", 1))
        .unwrap();
    let doubted = json("preview plan");
    assert!(codes(&doubted).contains(&"reports_do_not_fit".to_owned()), "{:?}", codes(&doubted));
    assert_eq!(doubted["topUsers"][0]["unspentBefore"], serde_json::Value::Null);

    let alone = json("explain plan 677e1c352f8ca575b4000026");
    assert_eq!(alone["siblings"], serde_json::Value::Null);
    let explained = json("explain plan 677e1c352f8ca575b4000026 --snapshot dump");
    assert_eq!(explained["changed"], true);
    assert_eq!(explained["siblings"][0]["relation"], "source");
    assert_eq!(explained["siblings"][0]["sharedProofs"], 2);
}

#[test]
fn explain_looks_only_into_the_plans_own_snapshot() {
    let place = place_with_plan();
    finish(&mut typed(place.path(), "generate other --tokens 300 --seed 9 -q")).exits(0);
    let line = "explain plan 677e1c352f8ca575b4000026 --snapshot other --json";
    assert_eq!(finish(&mut typed(place.path(), line)).exits(3).error().0, "other_snapshot");
}

#[test]
fn no_value_of_a_ledger_begins_a_line_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let forged = |name: &str| string(format!("{name}\nForged     is\u{2028}what\u{85}this\tsays"));
    let id = forged("id");
    let token = |status: &RawValue, spent_at: &RawValue| {
        document(&[
            element("_id", &id),
            element("npub", &forged("npub")),
            element("wallet_id", &forged("wallet")),
            element("mint_url", &forged("mint")),
            element("transaction_id", &forged("transaction")),
            element("transaction_type", &string("melted")),
            element("total_amount", &int32(5)),
            element("status", status),
            element("spent_at", spent_at),
            element("name\nForged", &int32(7)),
        ])
    };
    let unspent = token(&string("unspent"), &forged("spent_at"));
    let other = document(&[
        element("_id", &int32(1)),
        element("transaction_id", &forged("transaction")),
        element("status", &forged("status")),
        element("transaction_type", &forged("type")),
    ]);
    let changed = [token(&forged("status"), &forged("changed")), other.clone()];
    write_dump(&place.path().join("dump\nForged"), &[unspent, other].concat(), Some(b""));
    write_dump(&place.path().join("changed"), &changed.concat(), Some(b""));
    let said = |words: &[&str]| {
        let outcome = finish(remelt(words).current_dir(place.path()));
        for line in outcome.stdout.lines().chain(outcome.stderr.lines()) {
            assert!(!line.trim_start().starts_with("Forged"), "{words:?}: {outcome:#?}");
            assert!(!line.contains(['\u{2028}', '\u{85}', '\t']), "{words:?}: {outcome:#?}");
        }
        outcome.stdout
    };
    let (dump, id) = ("dump\nForged", "id\nForged     is\u{2028}what\u{85}this\tsays");
    said(&["analyze", dump, "plan"]);
    let explained = said(&["explain", "plan", id, "--snapshot", dump]);
    assert!(
        explained.starts_with("Token      id\\u{000a}Forged     is\\u{2028}what"),
        "{explained}"
    );
    said(&["preview", "plan"]);
    let differences = said(&["diff", dump, "changed"]);
    assert!(differences.contains("tokens id\\u{000a}Forged"), "{differences}");
    said(&["rehearse", dump, "--keep", "kept\nForged"]);
    said(&["apply", "plan", "--snapshot", "changed", "--out", "out\nForged", "--confirm", "--yes"]);
    said(&["apply", "plan", "--snapshot", dump, "--out", "out\nForged", "--confirm", "--yes"]);
    said(&["verify", "plan", "--snapshot", "no\nForged"]);
    // Files keep every byte.
    let report = fs::read_to_string(place.path().join("plan/reports/changes.csv")).unwrap();
    assert!(report.contains("\"npub\nForged"), "{report}");
}

#[test]
fn manual_pages_and_completions_know_every_command() {
    let place = tempfile::tempdir().unwrap();
    finish(&mut typed(place.path(), "man pages")).exits(0);
    let pages = place.path().join("pages");
    let root = fs::read_to_string(pages.join("remelt.1")).unwrap();
    for command in commands() {
        assert!(root.contains(&format!("remelt\\-{command}(1)")), "{command}: {root}");
        let page = fs::read_to_string(pages.join(format!("remelt-{command}.1"))).unwrap();
        assert!(page.contains("Example"), "{command}");
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let line = format!("completions {shell}");
            let script = finish(&mut typed(place.path(), &line)).exits(0).stdout;
            assert!(script.contains(&command), "{shell} does not know {command}");
        }
    }
    let script = finish(&mut typed(place.path(), "completions bash")).exits(0).stdout;
    let file = place.path().join("remelt.bash");
    fs::write(&file, script).unwrap();
    let checked = Command::new("bash").args(["-n", arg(&file)]).status().unwrap();
    assert!(checked.success());
}
