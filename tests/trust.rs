//! `docs/trust.md` names no test and no file that is not there, and none of the bad inputs is left out.

use std::fs;
use std::path::{Path, PathBuf};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(project().join("docs/trust.md")).unwrap()
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A name alone is that of a file in `tests`.
fn path_of(name: &str) -> PathBuf {
    if name.contains('/') { project().join(name) } else { project().join("tests").join(name) }
}

/// Every Rust file of tests and sources, for tests that are named without one.
fn sources(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false if path.extension().is_some_and(|it| it == "rs") => {
            vec![fs::read_to_string(path).unwrap()]
        }
        false => Vec::new(),
    };
    entries.flat_map(text).collect()
}

/// Whether `source` has a function of this name that is a test, not just called so.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    let is_attribute = |line: &&&str| line.starts_with("#[") || line.starts_with("///");
    let is_test = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    (0..lines.len()).any(|at| {
        (lines[at].starts_with(&head) || lines[at].starts_with(&format!("async {head}")))
            && lines[..at].iter().rev().take_while(is_attribute).any(is_test)
    })
}

#[test]
fn the_search_for_tests_tells_them_from_other_functions() {
    let source = "#[test]\n#[ignore]\nfn a_test() {}\n\nfn no_test() {}\n#[tokio::test(flavor = \"x\")]\n\
                  async fn another() {}\n";
    assert!(has_test(source, "a_test") && has_test(source, "another"));
    assert!(!has_test(source, "no_test") && !has_test(source, "test"));
}

#[test]
fn every_bad_input_has_a_row_and_every_row_tests_that_are_there() {
    let page = page();
    let (_, table) = page.split_once("## The 61 bad inputs").unwrap();
    let mut numbers = Vec::new();
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [cases, _, _, tests] = cells[..] else { panic!("{} cells: {row}", cells.len()) };
        for case in cases.split(", ") {
            let (first, last) = case.split_once('–').unwrap_or((case, case));
            numbers.extend(first.parse::<u32>().unwrap()..=last.parse().unwrap());
        }
        let mut found = 0;
        for test in quoted(tests) {
            let (file, name) = test.split_once(": ").unwrap_or(("bad_inputs.rs", test));
            let source =
                fs::read_to_string(path_of(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(has_test(&source, name), "{file} has no test {name}; correct row {cases}");
            found += 1;
        }
        assert!(found > 0, "no test is named: {row}");
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=61).collect::<Vec<_>>());
}

#[test]
fn every_file_and_test_that_is_named_is_there() {
    let page = page();
    let sources: Vec<String> =
        ["tests", "src"].iter().flat_map(|name| sources(&project().join(name))).collect();
    let (mut files, mut tests) = (0, 0);
    for word in quoted(&page) {
        let (file, name) = word.split_once(": ").unwrap_or((word, word));
        let is_path =
            ["src/", "tests/", "docs/", ".ci/", "benches/"].iter().any(|it| file.starts_with(it));
        let is_file = is_path && !file.contains(' ') || file.ends_with(".rs");
        if is_file {
            assert!(path_of(file).exists(), "{file} is named, but is not there");
            files += 1;
        }
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if name.matches('_').count() >= 3 && name.chars().all(is_word) {
            let is_there = sources.iter().any(|source| has_test(source, name));
            assert!(is_there, "a test {name} is named, but is not there");
            tests += 1;
        }
    }
    assert!(files > 30 && tests > 40, "{files} files and {tests} tests");
}
