//! The commands in the documentation do what it says: they are cut out of the pages and run.

use crate::support::exports::fill;
use crate::support::live::documents_in;
use crate::support::mongod::shared;
use remelt::generate::{GenerateOptions, generate_in_memory};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

fn page(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(path).unwrap()
}

/// The indented lines of `page` after the line that begins with `heading`, up to the next paragraph.
fn block_after(page: &str, heading: &str) -> Vec<String> {
    let mut lines = page.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let first = lines.by_ref().find(|line| line.starts_with("    "));
    let rest = lines.take_while(|line| line.starts_with("    "));
    first.into_iter().chain(rest).map(|line| line.trim().to_owned()).collect()
}

/// Runs lines of a page as a shell would, in `directory`, which is home too, with this program as `remelt`;
/// gives what they print. What wants a terminal or a desktop is given neither.
fn run(lines: &[String], directory: &Path, uri: &str) -> String {
    let script: Vec<String> = lines
        .iter()
        .map(|line| {
            let (command, _) = line.split_once(" #").unwrap_or((line, ""));
            let command = command.trim_end();
            if command.ends_with("--confirm") { format!("{command} --yes") } else { command.into() }
        })
        .map(|command| command.replace("mongodb://db1/nctool", uri))
        .collect();
    let remelt = env!("CARGO_BIN_EXE_remelt");
    let prelude = format!(
        "set -e\nremelt() {{ {remelt} --quiet \"$@\"; }}\nxdg-open() {{ test -s \"$1\"; }}\n\
         less() {{ test -s \"$1\"; }}\n"
    );
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(prelude + &script.join("\n")).current_dir(directory);
    shell.env("MONGODB_URI", uri).env("HOME", directory).stdin(std::process::Stdio::null());
    let output = shell.output().unwrap();
    assert!(
        output.status.success(),
        "{script:#?}\nended with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A database with a small ledger.
async fn database() -> String {
    let shared = shared().await;
    let options = GenerateOptions { tokens: 500, seed: 5, damage: false };
    let (tokens, wallets, _) = generate_in_memory(&options).unwrap();
    fill(&shared.database, "cashu_tokens", &documents_in(&tokens)).await;
    fill(&shared.database, "cashu_wallets", &documents_in(&wallets)).await;
    shared.uri
}

#[tokio::test]
async fn the_readmes_repair_of_a_database_works_as_written() {
    let lines = block_after(&page("README.md"), "On the database");
    assert!(lines.len() >= 10, "{lines:#?}");
    let directory = TempDir::new().unwrap();
    run(&lines, directory.path(), &database().await);
}

#[test]
fn the_readmes_repair_of_a_copy_works_as_written() {
    let lines = block_after(&page("README.md"), "On a copy");
    assert!(lines.len() >= 5, "{lines:#?}");
    let directory = TempDir::new().unwrap();
    let dump = directory.path().join("dump/nctool");
    fs::create_dir_all(&dump).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/nctool");
    for entry in fs::read_dir(fixture).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dump.join(path.file_name().unwrap())).unwrap();
    }
    run(&lines, directory.path(), "mongodb://127.0.0.1:1/nothing");
}

#[tokio::test]
async fn the_runbooks_steps_work_as_written() {
    let page = page("docs/runbook.md");
    let directory = TempDir::new().unwrap();
    let uri = database().await;
    for step in ["## 1.", "## 2.", "## 3."] {
        run(&block_after(&page, step), directory.path(), &uri);
    }
    let changes = fs::read_to_string(directory.path().join("plan/reports/changes.csv")).unwrap();
    let token = changes.lines().nth(1).unwrap().split(',').next().unwrap();
    let here: Vec<String> = block_after(&page, "## 4.")
        .into_iter()
        .map(|line| line.replace("TOKEN_ID", token))
        .collect();
    run(&here, directory.path(), &uri);
    for step in ["## 5.", "## 6."] {
        run(&block_after(&page, step), directory.path(), &uri);
    }
    let back = block_after(&page, "## Roll back");
    run(&back[..1], directory.path(), &uri);
}

#[tokio::test]
async fn the_monitors_first_command_works_as_written() {
    let uri = database().await;
    let lines = block_after(&page("docs/monitoring.md"), "the use of indexes");
    assert!(lines[0].starts_with("remelt monitor --once"), "{lines:#?}");
    let once = format!("{} || test $? = 4", lines[0].split(" #").next().unwrap().trim_end());
    run(&[once], TempDir::new().unwrap().path(), &uri);
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The command with the figures of `part`, which says where it stands in its file.
fn about_part(command: &str, part: &Value) -> String {
    let (offset, bytes) = (part["offset"].to_string(), part["bytes"].to_string());
    command.replace("OFFSET", &offset).replace("BYTES", &bytes)
}

/// A snapshot and a plan of it, as the commands of the pages for auditors expect them.
async fn audited(directory: &Path) -> String {
    let uri = database().await;
    let made = ["remelt export snapshot", "remelt analyze snapshot plan"].map(str::to_owned);
    run(&made, directory, &uri);
    uri
}

#[tokio::test]
async fn the_auditors_commands_work_as_written() {
    let guide = page("docs/auditors-guide.md");
    let directory = TempDir::new().unwrap();
    let uri = audited(directory.path()).await;
    let in_five_minutes = block_after(&guide, "## In five minutes");
    assert!(in_five_minutes.len() >= 5, "{in_five_minutes:#?}");
    let plan_directory = directory.path().join("plan");
    let plan = json(&plan_directory.join("plan.json"));
    let printed = run(&in_five_minutes, directory.path(), &uri);
    let plan_hash = plan["sha256"].as_str().unwrap();
    assert!(printed.lines().any(|line| line.starts_with(plan_hash)), "{printed}");

    let batch = &plan["batches"][0];
    let command = block_after(&guide, "A batch of").remove(0);
    let printed = run(&[about_part(&command, batch)], &plan_directory, &uri);
    assert!(printed.starts_with(batch["sha256"].as_str().unwrap()), "{printed}");

    let command = block_after(&guide, "In a spreadsheet").remove(0);
    let printed = run(&[command], &plan_directory, &uri);
    assert_eq!(printed.trim(), format!("-{}", plan["totals"]["amount"]));
}

#[tokio::test]
async fn the_commands_about_formats_work_as_written() {
    let formats = page("docs/formats.md");
    let directory = TempDir::new().unwrap();
    let uri = audited(directory.path()).await;
    let sealed = json(&directory.path().join("plan/plan.json"));
    let printed = run(&block_after(&formats, "## Sealed JSON"), directory.path(), &uri);
    assert!(printed.starts_with(sealed["sha256"].as_str().unwrap()), "{printed}");

    let snapshot = directory.path().join("snapshot");
    let manifest = json(&snapshot.join("snapshot.json"));
    let collection = &manifest["collections"][0];
    let (name, chunk) = (collection["name"].as_str().unwrap(), &collection["chunks"][0]);
    let command = block_after(&formats, "the last may be smaller").remove(0);
    let command =
        command.replace("COLLECTION", name).replace("DB", manifest["db"].as_str().unwrap());
    let printed = run(&[about_part(&command, chunk)], &snapshot, &uri);
    assert!(printed.starts_with(chunk["sha256"].as_str().unwrap()), "{printed}");
}

#[test]
fn completions_and_manual_pages_go_where_the_page_puts_them() {
    let home = TempDir::new().unwrap();
    for parent in [
        ".local/share/bash-completion/completions",
        ".zfunc",
        ".config/fish/completions",
        ".local/share/man",
    ] {
        fs::create_dir_all(home.path().join(parent)).unwrap();
    }
    let lines = block_after(&page("docs/configuration.md"), "## Completions");
    assert_eq!(lines.len(), 4);
    run(&lines, home.path(), "mongodb://127.0.0.1:1/nothing");
    for file in [".zfunc/_remelt", ".local/share/man/man1/remelt-apply.1"] {
        assert!(home.path().join(file).metadata().unwrap().len() > 1_000, "{file}");
    }
}
