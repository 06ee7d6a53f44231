//! One change as it stands in `changes.bson`.
//!
//! A BSON document: `_id` (the token's own), `ordinal` (int64, the token's number in the snapshot),
//! `rule`, what identifies the token to people (`npub`, `wallet_id`, `mint_url`, `transaction_id`,
//! `amount`, `createdAt`, each as in the token, or absent; also where its value could hold a bearer
//! secret or is longer than [`SHOWN_BYTES_MAX`]), `before` and `after` (documents with the fields `status`, `spent_at`, `updatedAt`; a field
//! that is absent there is absent in the token), and `bytesBefore`, `bytesAfter` (int64),
//! `sha256Before`, `sha256After` (binary, 32 bytes) of the whole token. It holds no proof; the token's `_id` and the
//! fields' old values stand as they are, whatever they hold, as undoing needs them.

use crate::analysis::{ProposedChange, RULE};
use crate::document::{
    DocumentBuilder, Malformed, Value, ValueKind, elements, may_hold_secret, remove_field,
    set_field, validate_value,
};
use crate::model::{Sha256Hash, Timestamp, hash_bytes};

/// The fields that a change sets, in the order in which they are set.
const FIELDS: [&str; 3] = ["status", "spent_at", "updatedAt"];

/// Longest value that is taken over for people, in bytes.
const SHOWN_BYTES_MAX: usize = 64 * 1024;

/// The fields of a change's document that are read.
const NAMES: [&str; 15] = [
    "_id",
    "ordinal",
    "rule",
    "npub",
    "wallet_id",
    "mint_url",
    "transaction_id",
    "amount",
    "createdAt",
    "before",
    "after",
    "bytesBefore",
    "bytesAfter",
    "sha256Before",
    "sha256After",
];

/// Appends `change` to `out` as its BSON document.
pub fn encode(change: &ProposedChange<'_>, out: &mut Vec<u8>) {
    let ordinal = i64::try_from(change.ordinal).unwrap_or(i64::MAX);
    let length = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    let mut builder = DocumentBuilder::onto(std::mem::take(out))
        .value("_id", change.id)
        .int64("ordinal", ordinal)
        .text("rule", RULE)
        .value_if("npub", shown(change.npub))
        .value_if("wallet_id", shown(change.wallet_id))
        .value_if("mint_url", shown(change.mint_url))
        .value_if("transaction_id", shown(change.transaction_id));
    if let Some(amount) = change.amount {
        builder = builder.int64("amount", amount);
    }
    builder = builder
        .value_if("createdAt", shown(change.created_at))
        .open("before")
        .value("status", change.before.status)
        .value_if("spent_at", change.before.spent_at)
        .value_if("updatedAt", change.before.updated_at)
        .close()
        .open("after")
        .text("status", "spent")
        .date("spent_at", change.spent_at_after.0);
    if let Some(Timestamp(ms)) = change.updated_at_after {
        builder = builder.date("updatedAt", ms);
    }
    *out = builder
        .close()
        .int64("bytesBefore", length(change.image.bytes_before))
        .int64("bytesAfter", length(change.image.bytes_after))
        .binary("sha256Before", &change.image.sha256_before.0)
        .binary("sha256After", &change.image.sha256_after.0)
        .finish();
}

/// A value for people, left out when it could hold a bearer secret or is longer than anybody reads.
fn shown(value: Option<Value<'_>>) -> Option<Value<'_>> {
    value.filter(|value| value.bytes.len() <= SHOWN_BYTES_MAX && !may_hold_secret(*value))
}

/// A change read back, in place.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// The token's `_id`.
    pub id: Value<'a>,
    /// The token's number in the snapshot.
    pub ordinal: u64,
    /// The user, when text.
    pub npub: Option<Value<'a>>,
    /// The wallet.
    pub wallet_id: Option<Value<'a>>,
    /// The mint, when text.
    pub mint_url: Option<Value<'a>>,
    /// The transaction.
    pub transaction_id: Option<Value<'a>>,
    /// `total_amount`, when an amount.
    pub amount: Option<i64>,
    /// `createdAt`.
    pub created_at: Option<Value<'a>>,
    /// The changed fields before.
    pub before: FieldImages<'a>,
    /// The changed fields after.
    pub after: FieldImages<'a>,
    /// Length of the token before, in bytes.
    pub bytes_before: u64,
    /// Length of the token after, in bytes.
    pub bytes_after: u64,
    /// SHA-256 of the token before.
    pub sha256_before: Sha256Hash,
    /// SHA-256 of the token after.
    pub sha256_after: Sha256Hash,
}

/// The changed fields at one point; `None` is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldImages<'a>([Option<Value<'a>>; FIELDS.len()]);

impl<'a> FieldImages<'a> {
    fn read(document: &'a [u8]) -> Option<FieldImages<'a>> {
        let mut images = [None; FIELDS.len()];
        for element in elements(document).ok()? {
            let element = element.ok()?;
            let field = FIELDS.iter().position(|name| name.as_bytes() == element.name)?;
            if images[field].replace(element.value).is_some() {
                return None;
            }
        }
        Some(FieldImages(images))
    }

    /// Name and value of every changed field.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<Value<'a>>)> + '_ {
        FIELDS.into_iter().zip(self.0)
    }

    /// The value of a changed field.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.iter().find(|(field, _)| *field == name)?.1
    }

    /// `document` with these values: what is absent here is removed, the rest set.
    ///
    /// # Errors
    /// [`Malformed`] when the document is broken.
    pub fn put_into(&self, document: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut edited = document.to_vec();
        for (name, value) in self.iter() {
            edited = match value {
                Some(value) => set_field(&edited, name.as_bytes(), value)?,
                None => remove_field(&edited, name.as_bytes())?,
            };
        }
        Ok(edited)
    }
}

/// What is wrong with a document of `changes.bson`, by the field that is missing or odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeFault {
    /// It is no valid BSON.
    #[error("malformed BSON: {0}")]
    Bson(#[from] Malformed),
    /// A field is missing or of another type or form than the format says.
    #[error("its field {0} is missing or not as the format says")]
    Field(&'static str),
}

impl<'a> Change<'a> {
    /// Reads a document of `changes.bson`.
    ///
    /// # Errors
    /// [`ChangeFault`] when it is not one.
    pub fn decode(document: &'a [u8]) -> Result<Change<'a>, ChangeFault> {
        let mut values = [None; NAMES.len()];
        for element in elements(document)? {
            let element = element?;
            // A token's fields stand one level deeper in `before`.
            validate_value(&element, 0)?;
            if let Some(place) = NAMES.iter().position(|name| name.as_bytes() == element.name) {
                values[place].get_or_insert(element.value);
            }
        }
        let field = |name| values[NAMES.iter().position(|known| *known == name)?];
        let need = |name| field(name).ok_or(ChangeFault::Field(name));
        let number = |name| {
            let value = need(name)?.as_amount().and_then(|n| u64::try_from(n).ok());
            value.ok_or(ChangeFault::Field(name))
        };
        let images = |name| {
            let value = need(name)?;
            let is_document = value.kind == ValueKind::Document;
            let images = is_document.then(|| FieldImages::read(value.bytes)).flatten();
            images.filter(|i| i.get("status").is_some()).ok_or(ChangeFault::Field(name))
        };
        let hash = |name| {
            let value = need(name)?;
            let data = value.bytes.get(5..).and_then(|data| <[u8; 32]>::try_from(data).ok());
            let data = data.filter(|_| value.kind == ValueKind::Binary);
            data.map(Sha256Hash).ok_or(ChangeFault::Field(name))
        };
        if need("rule")?.as_str() != Some(RULE) {
            return Err(ChangeFault::Field("rule"));
        }
        Ok(Change {
            id: need("_id")?,
            ordinal: number("ordinal")?,
            npub: field("npub"),
            wallet_id: field("wallet_id"),
            mint_url: field("mint_url"),
            transaction_id: field("transaction_id"),
            amount: field("amount").and_then(Value::as_amount),
            created_at: field("createdAt"),
            before: images("before")?,
            after: images("after")?,
            bytes_before: number("bytesBefore")?,
            bytes_after: number("bytesAfter")?,
            sha256_before: hash("sha256Before")?,
            sha256_after: hash("sha256After")?,
        })
    }

    /// Whether `document` is byte for byte the token before the change.
    #[must_use]
    pub fn is_before(&self, document: &[u8]) -> bool {
        self.bytes_before == document.len() as u64 && hash_bytes(document) == self.sha256_before
    }

    /// Whether `document` is byte for byte the token after the change.
    #[must_use]
    pub fn is_after(&self, document: &[u8]) -> bool {
        self.bytes_after == document.len() as u64 && hash_bytes(document) == self.sha256_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::samples::{TOKEN, change};

    #[test]
    fn a_token_is_what_the_plan_saw_by_its_length_and_its_hash() {
        let encoded = change("ann", Some(1), None);
        let change = Change::decode(&encoded).unwrap();
        let [before, after] = TOKEN;
        assert!(change.is_before(before) && !change.is_after(before));
        assert!(change.is_after(after) && !change.is_before(after));
        for at in 0..before.len() {
            let mut other = before.to_vec();
            other[at] ^= 1;
            assert!(!change.is_before(&other), "byte {at}");
        }
        for at in 0..after.len() {
            let mut other = after.to_vec();
            other[at] ^= 1;
            assert!(!change.is_after(&other), "byte {at}");
        }
        let lengthened = Change { bytes_before: 7, bytes_after: 11, ..change };
        assert!(!lengthened.is_before(before) && !lengthened.is_after(after));
    }
}
