//! The findings that one document shows by itself or beside its wallet.
//!
//! `docs/findings.md` defines each. A finding about a relation between documents lives with what holds
//! the relation: `duplicates`, `melts` and `positions`.

use super::token::Token;
use super::wallets::WalletCheck;
use crate::document::{Value, ValueKind};
use crate::model::{FindingCode, Status};

/// One finding about one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) code: FindingCode,
    /// The amount in question, as `findings.csv` shows it.
    pub(super) amount: Option<i128>,
    /// What exactly, in words that hold nothing of the document.
    pub(super) detail: &'static str,
}

/// Calls `report` for every finding of `token`, in the order of [`FindingCode::ALL`].
pub(super) fn inspect(
    token: &Token<'_>,
    is_npub_malformed: bool,
    wallet: WalletCheck,
    mut report: impl FnMut(Found),
) {
    let own_amount = token.amount().map(i128::from);
    let mut say = |code, detail| report(Found { code, amount: own_amount, detail });
    if let Some(detail) = orphaned(wallet) {
        say(FindingCode::OrphanedTokens, detail);
    }
    if let Some(detail) = invalid_amount(token) {
        say(FindingCode::InvalidAmounts, detail);
    }
    if let Some(detail) = missing_metadata(token) {
        say(FindingCode::MissingMetadata, detail);
    }
    if let Some(detail) = spent_at_mismatch(token) {
        say(FindingCode::SpentAtMismatch, detail);
    }
    if let Some(detail) = unknown_status(token) {
        say(FindingCode::UnknownStatus, detail);
    }
    if let Some(detail) = wallet_mismatch(wallet) {
        say(FindingCode::WalletMismatch, detail);
    }
    if token.has_duplicate_field {
        say(FindingCode::DuplicateField, "status, spent_at or updatedAt occurs more than once");
    }
    if is_npub_malformed {
        say(FindingCode::MalformedNpub, "npub is not bech32 npub1 with a valid checksum");
    }
    if let Some(difference) = amount_mismatch(token) {
        report(Found {
            code: FindingCode::AmountMismatch,
            amount: Some(difference),
            detail: "total_amount is not the sum of the proofs; the amount is the difference",
        });
    }
}

/// The class of an orphaned token; also its word in JSON.
pub(super) const MISSING_WALLET_ID: &str = "missing_wallet_id";
pub(super) const DANGLING_WALLET_ID: &str = "dangling_wallet_id";

fn orphaned(wallet: WalletCheck) -> Option<&'static str> {
    match wallet {
        WalletCheck::NoId => Some(MISSING_WALLET_ID),
        WalletCheck::Dangling => Some(DANGLING_WALLET_ID),
        WalletCheck::Unknown | WalletCheck::Found { .. } => None,
    }
}

fn wallet_mismatch(wallet: WalletCheck) -> Option<&'static str> {
    match wallet {
        WalletCheck::Found { same_npub: true, same_mint: true } => None,
        WalletCheck::Found { same_npub: false, same_mint: true } => {
            Some("npub differs from the wallet's")
        }
        WalletCheck::Found { same_npub: true, same_mint: false } => {
            Some("mint_url differs from the wallet's")
        }
        WalletCheck::Found { .. } => Some("npub and mint_url differ from the wallet's"),
        WalletCheck::NoId | WalletCheck::Dangling | WalletCheck::Unknown => None,
    }
}

fn invalid_amount(token: &Token<'_>) -> Option<&'static str> {
    match token.total_amount {
        None => Some("total_amount is absent"),
        Some(value) => match value.as_amount() {
            Some(0..) => None,
            Some(_) => Some("total_amount is negative"),
            None if value.is_null() => Some("total_amount is null"),
            None => match value.kind {
                ValueKind::Double | ValueKind::Decimal128 => {
                    Some("total_amount is not an integer in range")
                }
                _ => Some("total_amount is not a number"),
            },
        },
    }
}

fn amount_mismatch(token: &Token<'_>) -> Option<i128> {
    let amount = token.amount().filter(|amount| *amount >= 0)?;
    if token.proofs == 0 && token.status() == Some(Status::Pending) {
        return None;
    }
    let difference = i128::from(amount) - token.proofs_amount;
    (difference != 0).then_some(difference)
}

fn missing_metadata(token: &Token<'_>) -> Option<&'static str> {
    match token.metadata.source {
        Some(source) if !source.is_null() => None,
        _ => Some("no metadata.source"),
    }
}

fn spent_at_mismatch(token: &Token<'_>) -> Option<&'static str> {
    let has_date = token.spent_at.and_then(Value::as_date_ms).is_some();
    match (token.status() == Some(Status::Spent), has_date) {
        (true, false) => Some("spent without a spent_at date"),
        (false, true) => Some("a spent_at date without being spent"),
        _ => None,
    }
}

fn unknown_status(token: &Token<'_>) -> Option<&'static str> {
    match (token.status().is_some(), token.transaction_type().is_some()) {
        (true, true) => None,
        (false, true) => Some("status is none of the known ones"),
        (true, false) => Some("transaction_type is none of the known ones"),
        (false, false) => Some("status and transaction_type are none of the known ones"),
    }
}

/// Whether `npub` is something other than a well-formed bech32 public key.
pub(crate) fn is_npub_malformed(npub: Option<&[u8]>) -> bool {
    let Some(Ok(text)) = npub.map(std::str::from_utf8) else { return true };
    if !text.starts_with("npub1") || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return true;
    }
    match bech32::primitives::decode::CheckedHrpstring::new::<bech32::Bech32>(text) {
        Ok(checked) => checked.hrp().as_str() != "npub",
        Err(_) => true,
    }
}
