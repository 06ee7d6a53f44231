//! The users of a pass: balances by mint, and how many findings of each kind.
//!
//! Read from `balances.csv`, so names and figures are those of the reports. Users are sorted by the
//! bytes of their name.

use crate::model::{FindingCode, JsonAmount};
use serde::Serialize;
use std::io;
use std::ops::Range;
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
    /// The numbers of those with a token that the repair changes, in order.
    affected: Vec<u32>,
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
        let is_affected = |user: &User| user.mints.iter().any(|mint| mint.sums.tokens_fixed > 0);
        let numbered = (0_u32..).zip(&users);
        let affected = numbered.filter(|(_, user)| is_affected(user)).map(|(n, _)| n).collect();
        Ok(Users { users, affected })
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
        &self.users[self.range_with_prefix(prefix)]
    }

    /// Those of them who have a token that the repair changes.
    #[must_use]
    pub fn affected_with_prefix(&self, prefix: &str) -> Affected<'_> {
        let range = self.range_with_prefix(prefix);
        let place = |user: usize| self.affected.partition_point(|number| (*number as usize) < user);
        let numbers = &self.affected[place(range.start)..place(range.end)];
        Affected { users: &self.users, numbers }
    }

    fn range_with_prefix(&self, prefix: &str) -> Range<usize> {
        let from = self.users.partition_point(|user| user.npub.as_str() < prefix);
        let count = self.users[from..].partition_point(|user| user.npub.starts_with(prefix));
        from..from + count
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

/// Users with a token that the repair changes, sorted.
#[derive(Debug, Clone, Copy)]
pub struct Affected<'a> {
    users: &'a [User],
    /// Their numbers, of which there may be many: only those that are shown are looked up.
    numbers: &'a [u32],
}

impl<'a> Affected<'a> {
    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// `limit` of them from number `offset` on.
    pub fn page(&self, offset: u64, limit: usize) -> impl Iterator<Item = &'a User> + use<'a> {
        let users = self.users;
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let numbers = self.numbers.iter().skip(offset).take(limit);
        numbers.map(move |number| &users[*number as usize])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affected_users_are_those_with_a_changed_token_whatever_their_prefix() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("balances.csv");
        let mut text = "npub,mint_url,tokens_fixed,unspent_before,unspent_after,pending,\
                        spent_before,spent_after,delta\r\n"
            .to_owned();
        for (npub, mint, fixed) in
            [("a1", "m", 0), ("a2", "m", 0), ("a2", "n", 2), ("a3", "m", 1), ("b1", "m", 1)]
        {
            text += &format!("{npub},{mint},{fixed},0,0,0,0,0,0\r\n");
        }
        std::fs::write(&path, text).unwrap();
        let users = Users::read(&path).unwrap();
        let names = |prefix: &str, offset, limit| -> Vec<&str> {
            let affected = users.affected_with_prefix(prefix);
            affected.page(offset, limit).map(|user| user.npub.as_str()).collect()
        };
        assert_eq!(names("", 0, 9), ["a2", "a3", "b1"]);
        assert_eq!(names("a", 0, 9), ["a2", "a3"]);
        assert_eq!(names("a", 1, 9), ["a3"]);
        assert_eq!(names("", 0, 1), ["a2"]);
        assert!(names("a1", 0, 9).is_empty() && names("", u64::MAX, 9).is_empty());
        let counts = ["", "a", "b1", "c"].map(|prefix| users.affected_with_prefix(prefix).count());
        assert_eq!(counts, [3, 2, 1, 0]);
    }
}
