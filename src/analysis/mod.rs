//! Analysis: from a snapshot to changes, balances, findings and CSV reports.
//!
//! One pass over the wallets, one over the tokens, a second look at the documents whose values may occur
//! more than once, and the reports. Everything is exact and the same for any number of threads, any form
//! of the snapshot and any fingerprint key. This layer knows no clock, no network, no server and no
//! randomness; it never changes its input. Memory is bounded by [`AnalyzeOptions::memory_bytes`]: what
//! does not fit goes to scratch files without a name, in which no secret ever stands.

mod changes;
mod csv;
mod duplicates;
mod engine;
mod error;
mod family;
mod findings;
mod findings_file;
mod fingerprint;
mod groups;
mod look;
mod melts;
mod options;
mod pass;
mod positions;
mod reports;
mod rule;
mod scan;
mod secrets;
mod shown;
mod token;
mod totals;
mod wallets;

pub use changes::{ChangeEncoder, ChangeLengths, ChangeRows, ChangeSink};
pub use csv::{CsvRows, cell_text, printable, printable_line};
pub use engine::{Analysis, ScanFigures, analyze, scan};
pub use error::AnalyzeError;
pub use family::{Family, FamilyError, Member, family};
pub(crate) use findings::is_npub_malformed;
pub use fingerprint::FingerprintKey;
pub use options::{AnalyzeOptions, MEMORY_BYTES_MIN};
pub use reports::WrittenReport;
pub use rule::{
    ChangedFields, ImagePair, NotChanged, ProposedChange, RULE, RuleOptions, STORED_BYTES_MAX,
    SpentAt, UNDONE_BYTES_MAX, count_problematic, is_problematic, repaired,
};
pub use shown::{CELL_CHARS_MAX, ROWS_SHOWN_MAX, ShownCell, ShownFindings};
pub use totals::{FindingTotals, Totals};
