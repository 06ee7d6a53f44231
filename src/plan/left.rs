//! The tokens with the fault that a plan leaves as they are: known damage, which is not new.

use super::file::Plan;
use super::tables::{Table, TableError};
use crate::analysis::cell_text;
use crate::document::{Value, identifier_text};
use crate::model::{FindingCode, hash_bytes};
use csv::ByteRecord;
use memchr::memmem;
use std::collections::HashMap;

const REPORT: &str = "findings.csv";

/// Those tokens: how many there are of each id as the reports show it, by hashes of that text. Ids of other types
/// can have the same text, so each of them is met once.
#[derive(Debug, Clone)]
pub(crate) struct LeftTokens(HashMap<u64, u64>);

impl LeftTokens {
    /// Reads them from the findings beside `plan`; `None` when that report is not the one that the plan names.
    pub(crate) fn read(plan: &Plan) -> Option<LeftTokens> {
        plan.intact_report(REPORT)?;
        LeftTokens::from_rows(plan).ok()
    }

    fn from_rows(plan: &Plan) -> Result<LeftTokens, TableError> {
        let mut table = Table::open(plan.directory(), REPORT)?;
        let (mut row, mut left) = (ByteRecord::new(), HashMap::new());
        // The rows come code by code, this one's first.
        let code = FindingCode::InconsistentStatus.as_str().as_bytes();
        while table.next_into(&mut row)? && row.get(0) == Some(code) {
            if memmem::find(row.get(6).unwrap_or_default(), b"not changed: ").is_some() {
                *left.entry(hash_bytes(row.get(2).unwrap_or_default()).head()).or_default() += 1;
            }
        }
        Ok(LeftTokens(left))
    }

    /// Whether the token with this `_id` is one of them that was not met yet.
    pub(crate) fn meet(&mut self, id: Option<Value<'_>>) -> bool {
        let text = id.map(identifier_text).unwrap_or_default();
        let left = self.0.get_mut(&hash_bytes(cell_text(&text).as_bytes()).head());
        left.is_some_and(|left| {
            let is_one = *left > 0;
            *left = left.saturating_sub(1);
            is_one
        })
    }
}
