//! The API against its own description: schemathesis asks everything that `/openapi.json` allows and much
//! that it forbids, and checks every status, header and body.

use crate::support::api::{TOKEN, damaged};
use std::path::Path;
use std::process::Command;

const EXAMPLES: &str = "10";
/// What `tests/setup` installs.
const SCHEMATHESIS: &str = "schemathesis-4.32.5";

#[test]
fn schemathesis_finds_no_failure() {
    let (_, api) = damaged();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let home = target.join(SCHEMATHESIS);
    assert!(home.is_dir(), "there is no {}: run tests/setup", home.display());
    let directory = tempfile::tempdir().unwrap();
    let description = directory.path().join("openapi.json");
    std::fs::write(&description, api.get("/openapi.json").body).unwrap();
    let output = Command::new("python3")
        .env("PYTHONPATH", &home)
        .current_dir(directory.path())
        .arg(home.join("bin/schemathesis"))
        .args(["--no-color", "run"])
        .arg(&description)
        .args(["--url", &format!("http://{}", api.address)])
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--seed", "1", "--max-examples", EXAMPLES, "--generation-database", "none"])
        .args(["--phases", "examples,coverage,fuzzing"])
        // Streams do not end, and wrong tokens are limited: both have tests of their own.
        .args(["--exclude-path-regex", "events$", "--exclude-checks", "ignored_auth"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("Tested: 18"), "{told}");
}
