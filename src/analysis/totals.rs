//! The figures of an analysis.

use super::rule::NotChanged;
use crate::model::FindingCode;

/// Figures of one kind of finding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FindingTotals {
    /// How many, as `docs/findings.md` counts them.
    pub count: u64,
    /// The amount in question, where the finding has one.
    pub amount: i128,
    /// Distinct users concerned.
    pub affected_users: u64,
    /// By class, for findings that have classes.
    pub classes: [u64; 3],
}

impl FindingTotals {
    /// Adds what was counted elsewhere; users are counted at the end.
    pub(super) fn add_all(&mut self, more: &FindingTotals) {
        self.count += more.count;
        self.amount += more.amount;
        for (class, more) in self.classes.iter_mut().zip(more.classes) {
            *class += more;
        }
    }
}

/// Everything counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Documents with `transaction_type` `melted`.
    pub melted: u64,
    /// Of these, with status `spent`.
    pub spent_melted: u64,
    /// Distinct users with tokens.
    pub users: u64,
    /// Changes, the sum of their amounts, and their distinct users.
    pub changes: u64,
    /// Sum of the changed documents' amounts.
    pub amount_changed: i128,
    /// Distinct users of the changed documents.
    pub users_changed: u64,
    /// Documents of the rule's shape that are left as they are, by [`NotChanged`].
    pub not_changed: [u64; NotChanged::ALL.len()],
    /// Documents whose amount is below zero, without which no balance is.
    pub(super) negative_amounts: u64,
    findings: [FindingTotals; FindingCode::ALL.len()],
}

impl Totals {
    /// Figures of a finding.
    #[must_use]
    pub fn of(&self, code: FindingCode) -> &FindingTotals {
        &self.findings[code.index()]
    }

    pub(super) fn finding(&mut self, code: FindingCode) -> &mut FindingTotals {
        &mut self.findings[code.index()]
    }

    /// Adds what another worker counted by document.
    pub(super) fn add(&mut self, other: &Totals) {
        self.melted += other.melted;
        self.spent_melted += other.spent_melted;
        self.negative_amounts += other.negative_amounts;
        for (sum, more) in self.not_changed.iter_mut().zip(other.not_changed) {
            *sum += more;
        }
        for (sum, more) in self.findings.iter_mut().zip(&other.findings) {
            sum.add_all(more);
        }
    }
}
