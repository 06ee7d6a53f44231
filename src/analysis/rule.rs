//! The rule `melted_unspent`: which documents it changes, and into what bytes.

use super::token::{FieldOrder, Token};
use crate::document::{Malformed, Value, ValueKind, set_field};
use crate::model::{Sha256Hash, Status, Timestamp, hash_bytes};

/// Name of the rule in plans and reports.
pub const RULE: &str = "melted_unspent";

/// Largest document that the server stores, in bytes.
pub const STORED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most bytes that the values of `_id`, `spent_at` and `updatedAt`, which undoing needs, may have together: the undo image
/// stands in one stored document, with room for the rest.
pub const UNDONE_BYTES_MAX: usize = 14 * 1024 * 1024;

/// `"spent"` as a BSON string value.
const SPENT: &[u8] = b"\x06\0\0\0spent\0";

/// Which time becomes `spent_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpentAt {
    /// The plan's repair time.
    Repair,
    /// The document's `createdAt`.
    Created,
    /// The document's `updatedAt`, as it was.
    Updated,
}

/// How the rule is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleOptions {
    /// Source of `spent_at`.
    pub spent_at: SpentAt,
    /// The plan's repair time: the new `updatedAt`, and `spent_at` unless that comes from the document.
    pub repair_time: Timestamp,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)?) => {
        /// Why a document of the rule's shape is left as it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum NotChanged { $($(#[$doc])* $variant),* }

        impl NotChanged {
            /// Every reason.
            pub const ALL: &[NotChanged] = &[$(NotChanged::$variant),*];

            /// The word in reports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(NotChanged::$variant => $word),* }
            }
        }
    };
}

reasons! {
    /// A field that would be changed occurs twice: the server must never be asked to write it.
    DuplicateField = "duplicate_field",
    /// It would be too large for the server afterwards, or its undo image would be.
    NoRoom = "no_room",
    /// The time that `--spent-at` asks for is no date in it.
    NoOwnTime = "no_own_time",
    /// It has no `_id`, so nothing could find it again.
    NoId = "no_id",
}

/// A change that the rule proposes for one document.
#[derive(Debug, Clone)]
pub struct ProposedChange<'a> {
    /// The document's number in the snapshot, from 0.
    pub ordinal: u64,
    /// Its `_id`.
    pub id: Value<'a>,
    /// Its `npub` when that is text.
    pub npub: Option<Value<'a>>,
    /// Its `wallet_id`.
    pub wallet_id: Option<Value<'a>>,
    /// Its `mint_url` when that is text.
    pub mint_url: Option<Value<'a>>,
    /// Its `transaction_id`.
    pub transaction_id: Option<Value<'a>>,
    /// Its `total_amount` when that is an amount.
    pub amount: Option<i64>,
    /// Its `createdAt`.
    pub created_at: Option<Value<'a>>,
    /// The fields that change, as they are; `None` is absent.
    pub before: ChangedFields<'a>,
    /// `spent_at` afterwards.
    pub spent_at_after: Timestamp,
    /// `updatedAt` afterwards; `None` leaves it absent.
    pub updated_at_after: Option<Timestamp>,
    /// The document before and after.
    pub image: ImagePair,
}

/// The fields that the rule changes.
#[derive(Debug, Clone, Copy)]
pub struct ChangedFields<'a> {
    /// `status`, which is `unspent`.
    pub status: Value<'a>,
    /// `spent_at`.
    pub spent_at: Option<Value<'a>>,
    /// `updatedAt`.
    pub updated_at: Option<Value<'a>>,
}

/// Lengths and hashes of a document before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImagePair {
    /// Length before, in bytes.
    pub bytes_before: usize,
    /// Length after, in bytes.
    pub bytes_after: usize,
    /// SHA-256 of the bytes before.
    pub sha256_before: Sha256Hash,
    /// SHA-256 of the bytes after.
    pub sha256_after: Sha256Hash,
}

fn set_date(document: &[u8], name: &[u8], at: Timestamp) -> Result<Vec<u8>, Malformed> {
    let bytes = at.0.to_le_bytes();
    set_field(document, name, Value { kind: ValueKind::DateTime, bytes: &bytes })
}

/// `document` with the changed fields as the rule wants them.
///
/// # Errors
/// [`Malformed`] when the document is broken.
pub fn repaired(
    document: &[u8],
    spent_at: Timestamp,
    updated_at: Option<Timestamp>,
) -> Result<Vec<u8>, Malformed> {
    let spent = Value { kind: ValueKind::String, bytes: SPENT };
    let after = set_field(document, b"status", spent)?;
    let after = set_date(&after, b"spent_at", spent_at)?;
    match updated_at {
        Some(at) => set_date(&after, b"updatedAt", at),
        None => Ok(after),
    }
}

/// Whether the rule wants `token` changed.
pub(super) fn applies(token: &Token<'_>) -> bool {
    token.is_melted() && token.status() == Some(Status::Unspent)
}

/// Whether `document` is a token of the rule's shape: melted and unspent.
///
/// # Errors
/// [`Malformed`] when the document is broken anywhere.
pub fn is_problematic(document: &[u8]) -> Result<bool, Malformed> {
    Ok(count_problematic([document])? == 1)
}

/// How many of `documents` are tokens of the rule's shape. All are walked to their last bytes.
///
/// # Errors
/// [`Malformed`] when a document is broken anywhere.
pub fn count_problematic<'a>(
    documents: impl IntoIterator<Item = &'a [u8]>,
) -> Result<u64, Malformed> {
    let (mut order, mut proofs) = (FieldOrder::default(), Vec::new());
    documents.into_iter().try_fold(0, |count, document| {
        proofs.clear();
        let token = Token::parse(document, &mut order, &mut proofs)?;
        Ok(count + u64::from(applies(&token)))
    })
}

/// The change for a token of the rule's shape, or why there is none.
pub(super) fn propose<'a>(
    token: &Token<'a>,
    ordinal: u64,
    options: RuleOptions,
) -> Result<Result<ProposedChange<'a>, NotChanged>, Malformed> {
    if token.has_duplicate_field {
        return Ok(Err(NotChanged::DuplicateField));
    }
    let (Some(id), Some(status)) = (token.id, token.status) else {
        return Ok(Err(NotChanged::NoId));
    };
    let own = |value: Option<Value<'_>>| value.and_then(Value::as_date_ms).map(Timestamp);
    let spent_at_after = match options.spent_at {
        SpentAt::Repair => Some(options.repair_time),
        SpentAt::Created => own(token.created_at),
        SpentAt::Updated => own(token.updated_at),
    };
    let Some(spent_at_after) = spent_at_after else {
        return Ok(Err(NotChanged::NoOwnTime));
    };
    let updated_at_after = token.updated_at.map(|_| options.repair_time);
    let after = repaired(token.bytes, spent_at_after, updated_at_after)?;
    let undone = [token.id, token.spent_at, token.updated_at].into_iter().flatten();
    let undone_bytes: usize = undone.map(|value| value.bytes.len()).sum();
    if after.len() > STORED_BYTES_MAX || undone_bytes > UNDONE_BYTES_MAX {
        return Ok(Err(NotChanged::NoRoom));
    }
    let text = |value: Option<Value<'a>>| value.filter(|v| v.kind == ValueKind::String);
    Ok(Ok(ProposedChange {
        ordinal,
        id,
        npub: text(token.npub),
        wallet_id: token.wallet_id,
        mint_url: text(token.mint_url),
        transaction_id: token.transaction_id,
        amount: token.amount(),
        created_at: token.created_at,
        before: ChangedFields { status, spent_at: token.spent_at, updated_at: token.updated_at },
        spent_at_after,
        updated_at_after,
        image: ImagePair {
            bytes_before: token.bytes.len(),
            bytes_after: after.len(),
            sha256_before: hash_bytes(token.bytes),
            sha256_after: hash_bytes(&after),
        },
    }))
}
