//! The two pages: the dashboard and the readable page of the API. Owns what they are made of and what a
//! browser may do with them; they hold no data, and ask the API for all they show.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// What both pages use: texts, elements, the token, questions to the server.
const SHARED_SCRIPTS: [&str; 4] = [
    include_str!("pages/text.js"),
    include_str!("pages/dom.js"),
    include_str!("pages/session.js"),
    include_str!("pages/api.js"),
];

/// Each file uses those before it.
const DASHBOARD_SCRIPTS: [&str; 7] = [
    include_str!("pages/chart.js"),
    include_str!("pages/findings.js"),
    include_str!("pages/verdict.js"),
    include_str!("pages/impact.js"),
    include_str!("pages/operations.js"),
    include_str!("pages/drawer.js"),
    include_str!("pages/dashboard.js"),
];

const SHARED_STYLE: &str = include_str!("pages/page.css");

const SCRIPT: [&str; 2] = ["<script type=\"module\">", "</script>"];
const STYLE: [&str; 2] = ["<style>", "</style>"];

/// The dashboard, `/`.
pub(super) fn dashboard() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let html = include_str!("pages/dashboard.html");
        assemble(html, include_str!("pages/dashboard.css"), &DASHBOARD_SCRIPTS)
    });
    &PAGE
}

/// The readable page of the API, `/docs`.
pub(super) fn docs() -> &'static str {
    static PAGE: LazyLock<String> = LazyLock::new(|| {
        let html = include_str!("pages/docs.html");
        assemble(html, include_str!("pages/docs.css"), &[include_str!("pages/docs.js")])
    });
    &PAGE
}

fn assemble(html: &str, style: &str, scripts: &[&str]) -> String {
    let script = [&SHARED_SCRIPTS, scripts].concat().concat();
    html.replace("/*CSS*/", &[SHARED_STYLE, style].concat()).replace("/*JS*/", &script)
}

/// The value of `Content-Security-Policy` for one of the pages: its own script and style by their hashes, its own
/// server, and nothing else. No text can become markup either: there is no policy for trusted types.
pub(super) fn content_security_policy(page: &str) -> String {
    let script = hash(between(page, SCRIPT));
    let style = hash(between(page, STYLE));
    format!(
        "default-src 'none'; script-src '{script}'; style-src '{style}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'"
    )
}

fn between<'a>(page: &'a str, [open, close]: [&str; 2]) -> &'a str {
    let inside = page.split_once(open).map_or("", |(_, after)| after);
    inside.split_once(close).map_or("", |(inside, _)| inside)
}

fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_is_whole_and_holds_one_script_and_one_style() {
        for page in [dashboard(), docs()] {
            assert!(!page.contains("/*CSS*/") && !page.contains("/*JS*/"));
            for [open, close] in [SCRIPT, STYLE] {
                assert_eq!(page.matches(open).count(), 1, "{open}");
                assert_eq!(page.matches(close).count(), 1, "{close}");
                assert!(between(page, [open, close]).len() > 1000, "{open}");
            }
            assert_eq!(page.matches("<script").count(), 1);
        }
    }

    #[test]
    fn no_page_names_another_address_or_makes_markup_from_text() {
        for page in [dashboard(), docs()] {
            let foreign: Vec<&str> = page
                .split("http")
                .skip(1)
                .filter(|rest| rest.starts_with("://") || rest.starts_with("s://"))
                .filter(|rest| !rest.starts_with("://www.w3.org/2000/svg"))
                .collect();
            assert!(foreign.is_empty(), "{foreign:?}");
            for sink in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "Function(",
                "srcdoc",
                "style=",
                "onclick=",
                "onload=",
                "onerror=",
                "@import",
                "url(",
                "localStorage",
                "document.cookie",
            ] {
                assert!(!page.contains(sink), "{sink}");
            }
        }
    }

    #[test]
    fn the_policy_allows_the_page_its_own_script_and_style_alone() {
        let policy = content_security_policy("<style>a</style><script type=\"module\">b</script>");
        // Known hashes: of "b", and of "a".
        assert!(
            policy.contains("script-src 'sha256-PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0='"),
            "{policy}"
        );
        assert!(
            policy.contains("style-src 'sha256-ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs='"),
            "{policy}"
        );
        assert!(policy.starts_with("default-src 'none'; "));
        assert!(!policy.contains("unsafe"));
        let pages = [dashboard(), docs()].map(content_security_policy);
        assert_ne!(pages[0], pages[1]);
    }
}
