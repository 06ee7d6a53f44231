//! `SHA256SUMS`: the hash of every file of a plan directory, as `sha256sum -c` checks them.
//!
//! `plan.json` binds the changes and the CSV reports; what holds the plan's hash, or times that were
//! measured, can't stand in it, and is bound here. A directory's file must equal, byte for byte, what
//! [`sums`] makes of its files.

use super::columns::{PARQUET_REPORTS, has_parquet};
use super::file::{CHANGES_FILE, CSV_REPORTS, PLAN_FILE, REPORTS_DIRECTORY};
use super::page::PAGE_FILE;
use crate::model::Sha256Hash;
use crate::publish::{PublishError, at, open_regular};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;

/// Name of the file.
pub const SUMS_FILE: &str = "SHA256SUMS";
/// A line for each of a dozen files fits many times.
const SUMS_BYTES_MAX: u64 = 64 * 1024;
/// Name of the figures' file in `reports/`.
pub const SUMMARY_FILE: &str = "summary.json";

/// The files of the plan in `directory` that the sums are of, by their paths there, in order.
#[must_use]
pub fn summed_files(directory: &Path) -> Vec<String> {
    let mut reports = CSV_REPORTS.to_vec();
    if has_parquet(directory) {
        reports.extend(PARQUET_REPORTS.iter().map(|report| report.name));
    }
    reports.extend([PAGE_FILE, SUMMARY_FILE]);
    reports.sort_unstable();
    let reports = reports.into_iter().map(|name| format!("{REPORTS_DIRECTORY}/{name}"));
    [CHANGES_FILE, PLAN_FILE].map(str::to_owned).into_iter().chain(reports).collect()
}

/// The sums of the files in `directory`, those in `known` taken from there.
///
/// # Errors
/// [`PublishError`] when a file can't be read.
pub fn sums(
    directory: &Path,
    known: &dyn Fn(&str) -> Option<Sha256Hash>,
) -> Result<String, PublishError> {
    let mut text = String::new();
    for name in summed_files(directory) {
        let hash = match known(&name) {
            Some(hash) => hash,
            None => hash_file(&directory.join(&name))?,
        };
        text += &format!("{hash}  {name}\n");
    }
    Ok(text)
}

/// Whether `SHA256SUMS` in `directory` says `hash` of the file `name`.
pub(super) fn is_summed(directory: &Path, name: &str, hash: Sha256Hash) -> bool {
    let mut text = String::new();
    let read = open_regular(&directory.join(SUMS_FILE))
        .and_then(|file| file.take(SUMS_BYTES_MAX).read_to_string(&mut text));
    read.is_ok() && text.lines().any(|line| line == format!("{hash}  {name}"))
}

/// SHA-256 of a file's bytes.
///
/// # Errors
/// [`PublishError`] when it can't be read.
pub fn hash_file(path: &Path) -> Result<Sha256Hash, PublishError> {
    let mut file = open_regular(path).map_err(at("open", path))?;
    let mut hasher = Sha256::new();
    let mut block = vec![0; 256 * 1024];
    loop {
        match file.read(&mut block).map_err(at("read", path))? {
            0 => return Ok(Sha256Hash(hasher.finalize().into())),
            bytes => hasher.update(&block[..bytes]),
        }
    }
}
