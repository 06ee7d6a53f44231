//! The users of a pass: balances by mint, and how many findings of each kind.
//!
//! Read from `balances.csv`, so names and figures are those of the reports. Users are sorted by the
//! bytes of their name.

use crate::model::FindingCode;
use crate::plan::JsonAmount;
use serde::Serialize;
use std::io;
use std::path::Path;

/// One user's balance at one mint: a row of `balances.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MintBalance {
    /// The mint.
    pub mint_url: String,
    /// Figures there.
    #[serde(flatten)]
    pub sums: BalanceSums,
}

/// The figures of a balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BalanceSums {
    /// Tokens that the repair makes spent.
    pub tokens_fixed: u64,
    /// Sum of the unspent tokens' amounts now.
    pub unspent_before: JsonAmount,
    /// After the repair.
    pub unspent_after: JsonAmount,
    /// Sum of the pending tokens' amounts.
    pub pending: JsonAmount,
    /// Sum of the spent tokens' amounts now.
    pub spent_before: JsonAmount,
    /// After the repair.
    pub spent_after: JsonAmount,
    /// After less before, of the unspent ones.
    pub delta: JsonAmount,
}

impl Default for BalanceSums {
    fn default() -> BalanceSums {
        let zero = JsonAmount(0);
        BalanceSums {
            tokens_fixed: 0,
            unspent_before: zero,
            unspent_after: zero,
            pending: zero,
            spent_before: zero,
            spent_after: zero,
            delta: zero,
        }
    }
}

impl BalanceSums {
    fn add(&mut self, more: &BalanceSums) {
        let add = |sum: &mut JsonAmount, more: JsonAmount| sum.0 += more.0;
        self.tokens_fixed += more.tokens_fixed;
        add(&mut self.unspent_before, more.unspent_before);
        add(&mut self.unspent_after, more.unspent_after);
        add(&mut self.pending, more.pending);
        add(&mut self.spent_before, more.spent_before);
        add(&mut self.spent_after, more.spent_after);
        add(&mut self.delta, more.delta);
    }
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, as the reports show it; empty for tokens without one.
    pub npub: String,
    /// Balances, as in the report.
    pub mints: Vec<MintBalance>,
    findings: [u32; FindingCode::ALL.len()],
}

/// Findings that make a user's balance wrong.
pub const BALANCE_ISSUES: &[FindingCode] = &[
    FindingCode::InconsistentStatus,
    FindingCode::NegativeBalance,
    FindingCode::DoubleCounted,
    FindingCode::InvalidAmounts,
    FindingCode::AmountMismatch,
];

impl User {
    /// Rows of `findings.csv` of this kind with this user.
    #[must_use]
    pub fn findings(&self, code: FindingCode) -> u64 {
        self.findings[code.index()].into()
    }

    /// Whether the balance is wrong.
    #[must_use]
    pub fn has_issues(&self) -> bool {
        BALANCE_ISSUES.iter().any(|code| self.findings(*code) > 0)
    }

    /// The balance over all mints.
    #[must_use]
    pub fn totals(&self) -> BalanceSums {
        let mut totals = BalanceSums::default();
        self.mints.iter().for_each(|mint| totals.add(&mint.sums));
        totals
    }
}

/// All users of a pass.
#[derive(Debug, Default)]
pub struct Users {
    users: Vec<User>,
}

impl Users {
    /// Reads `balances.csv`.
    pub(super) fn read(path: &Path) -> io::Result<Users> {
        let mut users: Vec<User> = Vec::new();
        let mut rows = csv::Reader::from_path(path)?;
        let mut row = csv::StringRecord::new();
        while rows.read_record(&mut row)? {
            let balance = balance(&row).ok_or(io::ErrorKind::InvalidData)?;
            let npub = row.get(0).unwrap_or_default();
            match users.last_mut() {
                Some(last) if last.npub == npub => last.mints.push(balance),
                _ => users.push(User {
                    npub: npub.to_owned(),
                    mints: vec![balance],
                    findings: [0; FindingCode::ALL.len()],
                }),
            }
        }
        // Names that the report has to alter may be out of order, or equal to others.
        users.sort_by(|a, b| a.npub.cmp(&b.npub));
        users.dedup_by(|later, first| {
            let is_same = later.npub == first.npub;
            if is_same {
                first.mints.append(&mut later.mints);
            }
            is_same
        });
        Ok(Users { users })
    }

    /// All of them, sorted.
    #[must_use]
    pub fn all(&self) -> &[User] {
        &self.users
    }

    /// The user of this name.
    #[must_use]
    pub fn get(&self, npub: &str) -> Option<&User> {
        let at = self.users.binary_search_by(|user| user.npub.as_str().cmp(npub)).ok()?;
        self.users.get(at)
    }

    /// The users whose names begin so, sorted.
    #[must_use]
    pub fn with_prefix(&self, prefix: &str) -> &[User] {
        let from = self.users.partition_point(|user| user.npub.as_str() < prefix);
        let count = self.users[from..].partition_point(|user| user.npub.starts_with(prefix));
        &self.users[from..from + count]
    }

    /// The number of the user of this name.
    pub(super) fn position(&self, npub: &str) -> Option<u32> {
        let at = self.users.binary_search_by(|user| user.npub.as_str().cmp(npub)).ok()?;
        u32::try_from(at).ok()
    }

    /// Counts a finding; gives the user's number.
    pub(super) fn count_finding(&mut self, npub: &[u8], code: FindingCode) -> Option<u32> {
        let at = self.users.binary_search_by(|user| user.npub.as_bytes().cmp(npub)).ok()?;
        let count = &mut self.users[at].findings[code.index()];
        *count = count.saturating_add(1);
        u32::try_from(at).ok()
    }
}

/// `npub,mint_url,tokens_fixed,unspent_before,unspent_after,pending,spent_before,spent_after,delta`
fn balance(row: &csv::StringRecord) -> Option<MintBalance> {
    let amount = |at: usize| row.get(at)?.parse().ok().map(JsonAmount);
    Some(MintBalance {
        mint_url: row.get(1)?.to_owned(),
        sums: BalanceSums {
            tokens_fixed: row.get(2)?.parse().ok()?,
            unspent_before: amount(3)?,
            unspent_after: amount(4)?,
            pending: amount(5)?,
            spent_before: amount(6)?,
            spent_after: amount(7)?,
            delta: amount(8)?,
        },
    })
}
