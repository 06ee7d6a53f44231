//! The truth about a ledger, kept while it is made.
//!
//! Everything here is told by the stories; nothing is found out from documents' bytes, and nothing of
//! the analysis is used. What concerns one user is kept in their [`Standing`] until their cohort
//! retires, then added to the totals and written out.

use super::story::{DuplicateClass, Story};
use super::token::{Orphan, Token, UserIndex, Word};
use super::workshop::User;
use crate::model::{FindingCode, Status};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::io::{self, Write};

/// What is known of one user.
#[derive(Debug, Default)]
pub(super) struct Standing {
    tokens: u64,
    changed: u64,
    changed_amount: i128,
    /// The findings that concern them, one bit each by [`FindingCode::index`].
    findings: u32,
    /// Σ of amounts by mint and status, in the order of [`Status::ALL`].
    balances: Vec<(Vec<u8>, [i128; 4])>,
}

impl Standing {
    fn concern(&mut self, code: FindingCode) {
        self.findings |= 1 << code.index();
    }

    fn add_to_balance(&mut self, mint_url: &[u8], status: Status, amount: i64) {
        let position = self.balances.iter().position(|(mint, _)| mint == mint_url);
        let position = position.unwrap_or_else(|| {
            self.balances.push((mint_url.to_vec(), [0; 4]));
            self.balances.len() - 1
        });
        self.balances[position].1[status as usize] += i128::from(amount);
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    count: u64,
    amount: i128,
    affected_users: u64,
}

/// The figures of a whole ledger.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) tokens: u64,
    pub(super) users: u64,
    pub(super) wallets: u64,
    /// Documents that the rule changes.
    pub(super) changed: u64,
    melted: u64,
    spent_melted: u64,
    changed_amount: i128,
    changed_users: u64,
    duplicate_field_not_changed: u64,
    findings: [Tally; FindingCode::ALL.len()],
    missing_wallet_ids: u64,
    dangling_wallet_ids: u64,
    benign_copies: u64,
    double_counted: u64,
    cross_user: u64,
    /// Whether a user was written already.
    users_written: bool,
}

impl Truth {
    /// Adds a story whose documents are all written.
    pub(super) fn record(&mut self, story: &Story, users: &mut [User]) {
        for token in &story.tokens {
            self.record_token(token, users);
        }
        for shared in &story.shared_secrets {
            let owners = owners_of(story, &shared.holders);
            match shared.class {
                DuplicateClass::BenignCopy => self.benign_copies += 1,
                DuplicateClass::CrossUser => self.cross_user += 1,
                DuplicateClass::DoubleCounted => {
                    self.double_counted += 1;
                    let code = FindingCode::DoubleCounted;
                    self.find(code, shared.phantom, &owners, users);
                }
            }
            self.find(FindingCode::DuplicateSecrets, 0, &owners, users);
        }
        for holders in &story.shared_transaction_ids {
            let owners = owners_of(story, holders);
            self.find(FindingCode::DuplicateTransactionId, 0, &owners, users);
        }
    }

    fn record_token(&mut self, token: &Token, users: &mut [User]) {
        let owner: Vec<UserIndex> = token.owner.into_iter().collect();
        self.tokens += 1;
        self.melted += u64::from(token.is_melted());
        let is_spent = token.status == Word::Known(Status::Spent);
        self.spent_melted += u64::from(token.is_melted() && is_spent);
        if let Some(user) = token.owner {
            let standing = &mut users[user].standing;
            standing.tokens += 1;
            if let Word::Known(status) = token.status {
                standing.add_to_balance(token.mint_url.text_bytes(), status, token.counted);
            }
        }
        for &(code, amount) in &token.marks {
            self.find(code, amount, &owner, users);
        }
        match token.orphan {
            Some(Orphan::MissingWalletId) => self.missing_wallet_ids += 1,
            Some(Orphan::DanglingWalletId) => self.dangling_wallet_ids += 1,
            None => {}
        }
        if token.is_problematic() {
            self.record_problematic(token, &owner, users);
        }
    }

    fn record_problematic(&mut self, token: &Token, owner: &[UserIndex], users: &mut [User]) {
        let amount = i128::from(token.counted);
        self.find(FindingCode::InconsistentStatus, amount, owner, users);
        if token.has_mark(FindingCode::DuplicateField) {
            self.duplicate_field_not_changed += 1;
            return;
        }
        self.changed += 1;
        self.changed_amount += amount;
        for &user in owner {
            users[user].standing.changed += 1;
            users[user].standing.changed_amount += amount;
        }
    }

    fn find(&mut self, code: FindingCode, amount: i128, owners: &[UserIndex], users: &mut [User]) {
        let tally = &mut self.findings[code.index()];
        tally.count += 1;
        tally.amount += amount;
        for &owner in owners {
            users[owner].standing.concern(code);
        }
    }

    /// Adds users who will have no more documents, and writes those with changes to `out`.
    pub(super) fn retire(&mut self, users: Vec<User>, out: &mut impl Write) -> io::Result<()> {
        for mut user in users {
            self.settle_balances(&mut user.standing);
            let standing = &user.standing;
            self.users += u64::from(standing.tokens > 0);
            self.changed_users += u64::from(standing.changed > 0);
            for code in FindingCode::ALL {
                let concerned = standing.findings >> code.index() & 1 == 1;
                self.findings[code.index()].affected_users += u64::from(concerned);
            }
            if standing.changed > 0 {
                self.write_user(&user, out)?;
            }
        }
        Ok(())
    }

    fn settle_balances(&mut self, standing: &mut Standing) {
        let balances = std::mem::take(&mut standing.balances);
        for (_, sums) in balances {
            let below: i128 = sums.iter().filter(|sum| **sum < 0).sum();
            if below < 0 {
                let tally = &mut self.findings[FindingCode::NegativeBalance.index()];
                tally.count += 1;
                tally.amount += below;
                standing.concern(FindingCode::NegativeBalance);
            }
        }
    }

    fn write_user(&mut self, user: &User, out: &mut impl Write) -> io::Result<()> {
        let separator = if self.users_written { "," } else { "" };
        self.users_written = true;
        let npub = serde_json::to_string(&String::from_utf8_lossy(&user.npub))?;
        let (fixed, delta) = (user.standing.changed, -user.standing.changed_amount);
        write!(out, "{separator}{npub}:{{\"tokensFixed\":{fixed},\"delta\":{delta}}}")
    }

    /// Writes everything before the users: an object that is still open inside `perUser`.
    pub(super) fn write_head(
        &self,
        seed: u64,
        damage: bool,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let problematic = self.findings[FindingCode::InconsistentStatus.index()].count;
        write!(out, "{{\"seed\":{seed},\"tokens\":{},\"damage\":{damage},", self.tokens)?;
        write!(
            out,
            "\"stats\":{{\"totalTokens\":{},\"totalMeltedTokens\":{},\"problematicTokens\":{problematic},\
             \"spentMeltedTokens\":{},\"totalUsers\":{},\"totalWallets\":{}}},",
            self.tokens, self.melted, self.spent_melted, self.users, self.wallets
        )?;
        write!(
            out,
            "\"impact\":{{\"tokensToMigrate\":{},\"totalAmountAffected\":{},\"affectedUsers\":{}}},",
            self.changed, self.changed_amount, self.changed_users
        )?;
        write!(out, "\"findings\":{},", serde_json::to_string(&Findings(self))?)?;
        write!(
            out,
            "\"notChanged\":{{\"duplicate_field\":{},\"no_room\":0,\"no_own_time\":0}},\"perUser\":{{",
            self.duplicate_field_not_changed
        )
    }
}

/// The users whose documents these are, each once.
fn owners_of(story: &Story, holders: &[usize]) -> Vec<UserIndex> {
    let mut owners: Vec<UserIndex> =
        holders.iter().filter_map(|&holder| story.tokens[holder].owner).collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

/// The findings as the object in `truth.json`.
struct Findings<'a>(&'a Truth);

impl Serialize for Findings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(FindingCode::ALL.len()))?;
        for &code in FindingCode::ALL {
            map.serialize_entry(code.as_str(), &Finding(self.0, code))?;
        }
        map.end()
    }
}

struct Finding<'a>(&'a Truth, FindingCode);

impl Serialize for Finding<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Finding(truth, code) = *self;
        let tally = truth.findings[code.index()];
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("count", &tally.count)?;
        if has_amount(code) {
            map.serialize_entry("amount", &tally.amount)?;
        }
        map.serialize_entry("affectedUsers", &tally.affected_users)?;
        let classes = Classes(truth, code);
        if !classes.entries().is_empty() {
            map.serialize_entry("classes", &classes)?;
        }
        map.end()
    }
}

struct Classes<'a>(&'a Truth, FindingCode);

impl Classes<'_> {
    fn entries(&self) -> Vec<(&'static str, u64)> {
        let truth = self.0;
        match self.1 {
            FindingCode::OrphanedTokens => vec![
                ("missing_wallet_id", truth.missing_wallet_ids),
                ("dangling_wallet_id", truth.dangling_wallet_ids),
            ],
            FindingCode::DuplicateSecrets => vec![
                ("benign_copy", truth.benign_copies),
                ("double_counted", truth.double_counted),
                ("cross_user", truth.cross_user),
            ],
            _ => Vec::new(),
        }
    }
}

impl Serialize for Classes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries())
    }
}

/// Whether `docs/findings.md` gives the finding an amount.
const fn has_amount(code: FindingCode) -> bool {
    matches!(
        code,
        FindingCode::InconsistentStatus
            | FindingCode::NegativeBalance
            | FindingCode::AmountMismatch
            | FindingCode::DoubleCounted
            | FindingCode::MissingChange
    )
}
