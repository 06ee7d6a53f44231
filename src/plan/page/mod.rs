//! `report.html`: one self-contained page about a plan, for people who know no MongoDB.
//!
//! It asks no network for anything, works without its script, prints, and follows the reader's light or
//! dark setting; its content security policy allows exactly the one style and the one script in it. It
//! shows what the reports hold and nothing else, has no clock, and stays below [`PAGE_BYTES_MAX`]
//! whatever the plan holds: rows beyond a bound are left out, and the page says which file has them all.

mod chart;
mod figures;
mod html;
mod prose;
mod rows;

use super::file::PlanFile;
use super::report::AnalyzeReport;
use super::tables::TableError;
use crate::analysis::ShownFindings;
use crate::model::Sha256Hash;
use crate::scratch::ScratchError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use figures::Figures;
use html::Html;
use sha2::{Digest, Sha256};
use std::path::Path;

/// Name of the page in `reports/`.
pub const PAGE_FILE: &str = "report.html";
/// No page is longer, in bytes.
pub const PAGE_BYTES_MAX: usize = 5_000_000;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A report can't be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Scratch space could not be used.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
}

/// What a page is about.
#[derive(Debug, Clone, Copy)]
pub struct PageSubject<'a> {
    /// Where the plan lies, or is being built; its CSV reports are read.
    pub directory: &'a Path,
    /// `plan.json`.
    pub plan: &'a PlanFile,
    /// The plan's hash.
    pub sha256: Sha256Hash,
    /// The figures of `summary.json`.
    pub summary: &'a AnalyzeReport,
    /// The first rows of `findings.csv`.
    pub findings: &'a ShownFindings,
}

/// The page as a file. The same plan and reports give the same bytes.
///
/// # Errors
/// [`PageError`].
pub fn page(subject: &PageSubject<'_>) -> Result<String, PageError> {
    let figures = Figures::read(subject.directory)?;
    let mut html = Html::default();
    head(&mut html);
    html.markup("<header>");
    prose::title(&mut html, subject);
    html.markup("</header><main>");
    prose::summary(&mut html, subject);
    chart::charts(&mut html, &figures);
    prose::reconciliation(&mut html, &figures);
    rows::deltas(&mut html, &figures);
    rows::findings(&mut html, subject);
    prose::not_changed(&mut html, subject);
    prose::provenance(&mut html, subject);
    prose::words(&mut html);
    prose::sign_off(&mut html);
    html.markup("</main>").markup("<script>").markup(SCRIPT).markup("</script></html>\n");
    Ok(html.finish())
}

fn head(html: &mut Html) {
    html.markup(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\
         <meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src '",
    );
    html.text(&source_hash(STYLE)).markup("'; script-src '").text(&source_hash(SCRIPT));
    html.markup(
        "'; base-uri 'none'; form-action 'none'\">\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <meta name=referrer content=no-referrer><meta name=color-scheme content=\"light dark\">\
         <title>Ledger repair report</title><style>",
    );
    html.markup(STYLE).markup("</style></head><body>");
}

/// How a content security policy names a style or script by its content.
fn source_hash(source: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(Sha256::digest(source)))
}
