//! The real binary, run as a person or a script runs it.

use serde_json::Value;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary with nothing on standard input, and nothing of this process's own settings.
pub(crate) fn remelt<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_remelt"));
    command.args(arguments).env_remove("MONGODB_URI").stdin(Stdio::null());
    command.env("REMELT_CONFIG", "").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

/// Runs the binary to its end.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Outcome {
    finish(&mut remelt(arguments))
}

/// Runs `command` to its end.
pub(crate) fn finish(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome::new(format!("{:?}", command.get_args().collect::<Vec<_>>()), &output)
}

/// What a run of the binary left behind.
pub(crate) struct Outcome {
    /// Which run it was.
    what: String,
    /// The exit code; `None` after a signal.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl fmt::Debug for Outcome {
    /// What a person needs who reads a failing test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { what, code, stdout, stderr } = self;
        write!(f, "{what}\nexit code {code:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}")
    }
}

impl Outcome {
    /// The outcome of the run that `what` names.
    pub(crate) fn new(what: String, output: &Output) -> Outcome {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Outcome {
            what,
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Makes sure of the exit code, and that nothing panicked.
    pub(crate) fn exits(self, code: i32) -> Outcome {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self
    }

    /// Standard output as the one JSON object that it must be.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.stdout.matches('\n').count(), 1, "one line expected: {self:#?}");
        match serde_json::from_str(&self.stdout) {
            Ok(object @ Value::Object(_)) => object,
            other => panic!("expected a JSON object, found {other:?}: {self:#?}"),
        }
    }

    /// Code, message and hint of the JSON error that standard output must be.
    pub(crate) fn error(&self) -> (String, String, String) {
        let json = self.json();
        assert_eq!(keys(&json), ["error"], "{self:#?}");
        assert_eq!(keys(&json["error"]), ["code", "message", "hint"], "{self:#?}");
        let text = |key: &str| json["error"][key].as_str().unwrap().to_owned();
        (text("code"), text("message"), text("hint"))
    }
}

/// The keys of a JSON object, in the order in which they stand.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
