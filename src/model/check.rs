//! The answer to one check, as `validate` and `audit` give it.

use serde::Serialize;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckResult {
    /// As it should be.
    Pass,
    /// Nothing speaks against it, and a person should look.
    Warn,
    /// Not as it should be.
    Fail,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// The answer.
    pub result: CheckResult,
    /// What was measured.
    pub detail: String,
    /// What to do; empty when nothing.
    pub action: String,
}

impl Check {
    /// As it should be.
    pub fn pass(name: &'static str, detail: impl Into<String>) -> Check {
        let (result, detail) = (CheckResult::Pass, detail.into());
        Check { name, result, detail, action: String::new() }
    }

    /// A person should look.
    pub fn warn(name: &'static str, detail: impl Into<String>, action: &str) -> Check {
        let (result, detail) = (CheckResult::Warn, detail.into());
        Check { name, result, detail, action: action.to_owned() }
    }

    /// Not as it should be.
    pub fn fail(name: &'static str, detail: impl Into<String>, action: &str) -> Check {
        Check { result: CheckResult::Fail, ..Check::warn(name, detail, action) }
    }
}
