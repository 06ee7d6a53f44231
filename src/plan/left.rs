//! The tokens with the fault that a plan leaves as they are: known damage, which is not new.

use super::file::Plan;
use super::tables::{Table, TableError};
use crate::analysis::cell_text;
use crate::document::{Value, identifier_text};
use crate::model::{FindingCode, hash_bytes};
use csv::ByteRecord;
use memchr::memmem;
use std::collections::HashSet;

const REPORT: &str = "findings.csv";

/// Those tokens, by hashes of their ids as the reports show them.
#[derive(Debug)]
pub(crate) struct LeftTokens(HashSet<u64>);

impl LeftTokens {
    /// Reads them from the findings beside `plan`; `None` when that report is not the one that the plan names.
    pub(crate) fn read(plan: &Plan) -> Option<LeftTokens> {
        plan.intact_report(REPORT)?;
        LeftTokens::from_rows(plan).ok()
    }

    fn from_rows(plan: &Plan) -> Result<LeftTokens, TableError> {
        let mut table = Table::open(plan.directory(), REPORT)?;
        let (mut row, mut left) = (ByteRecord::new(), HashSet::new());
        while table.next_into(&mut row)? {
            let cell = |at| row.get(at).unwrap_or_default();
            if cell(0) != FindingCode::InconsistentStatus.as_str().as_bytes() {
                continue;
            }
            if memmem::find(cell(6), b"not changed: ").is_some() {
                left.insert(hash_bytes(cell(2)).head());
            }
        }
        Ok(LeftTokens(left))
    }

    /// Whether the token with this `_id` is one of them.
    pub(crate) fn holds(&self, id: Option<Value<'_>>) -> bool {
        let text = id.map(identifier_text).unwrap_or_default();
        self.0.contains(&hash_bytes(cell_text(&text).as_bytes()).head())
    }
}
