//! One token document as the analysis sees it: the fields that matter, in place.
//!
//! Parsing validates the whole document to the last nested byte in the same walk. Nothing is copied.

use crate::document::{Element, Elements, Malformed, Value, ValueKind, elements, validate_value};
use crate::model::{Status, TransactionType};

/// A token document's fields; `None` is absent. Of a field that occurs twice, the first.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Token<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) id: Option<Value<'a>>,
    pub(crate) npub: Option<Value<'a>>,
    pub(crate) wallet_id: Option<Value<'a>>,
    pub(crate) mint_url: Option<Value<'a>>,
    pub(crate) total_amount: Option<Value<'a>>,
    pub(crate) status: Option<Value<'a>>,
    pub(crate) transaction_type: Option<Value<'a>>,
    pub(crate) transaction_id: Option<Value<'a>>,
    pub(crate) spent_at: Option<Value<'a>>,
    pub(crate) created_at: Option<Value<'a>>,
    pub(crate) updated_at: Option<Value<'a>>,
    pub(crate) metadata: Metadata<'a>,
    /// Number of proofs, and the sum of their amounts.
    pub(crate) proofs: u64,
    pub(crate) proofs_amount: i128,
    /// Whether a field that the rule changes occurs more than once.
    pub(crate) has_duplicate_field: bool,
    /// What `status` and `transaction_type` say.
    words: (Option<Status>, Option<TransactionType>),
}

/// What matters of `metadata`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Metadata<'a> {
    pub(crate) source: Option<Value<'a>>,
    pub(crate) total_amount: Option<Value<'a>>,
    pub(crate) melt_transaction_id: Option<Value<'a>>,
}

/// One proof that has a secret.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof<'a> {
    /// The bearer secret: never shown, only hashed and compared.
    pub(crate) secret: &'a [u8],
    pub(crate) amount: Option<i64>,
}

const OUTERMOST: usize = 1;

macro_rules! fields {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A top-level field by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Field { $($variant,)* Other }

        impl Field {
            fn of(name: &[u8]) -> Field {
                $(if name.iter().chain(b"\0").eq($name) { return Field::$variant; })*
                Field::Other
            }

            /// The length of its name, with the closing 0, if the next element is this field.
            #[inline]
            fn is_next(self, fields: &Elements<'_>) -> Option<usize> {
                match self {
                    $(Field::$variant => fields.is_next($name).then_some($name.len()),)*
                    Field::Other => None,
                }
            }
        }
    };
}

fields! {
    Id = b"_id\0",
    Npub = b"npub\0",
    WalletId = b"wallet_id\0",
    Proofs = b"proofs\0",
    MintUrl = b"mint_url\0",
    TotalAmount = b"total_amount\0",
    Status = b"status\0",
    TransactionType = b"transaction_type\0",
    TransactionId = b"transaction_id\0",
    Metadata = b"metadata\0",
    SpentAt = b"spent_at\0",
    CreatedAt = b"createdAt\0",
    UpdatedAt = b"updatedAt\0",
}

impl Field {
    fn is_changed_by_the_rule(self) -> bool {
        matches!(self, Field::Status | Field::SpentAt | Field::UpdatedAt)
    }
}

/// Which field followed which in the documents before. Guessing from it makes the walk faster and never
/// changes what is read.
#[derive(Debug, Clone)]
pub(crate) struct FieldOrder {
    after: [Field; Field::Other as usize + 1],
    /// Fields that did not stand where they were expected.
    misses: u64,
}

impl Default for FieldOrder {
    fn default() -> FieldOrder {
        FieldOrder { after: [Field::Other; Field::Other as usize + 1], misses: 0 }
    }
}

impl FieldOrder {
    #[inline]
    fn expected(&self, after: Field) -> Field {
        self.after[after as usize]
    }

    fn note(&mut self, after: Field, field: Field) {
        self.misses += 1;
        self.after[after as usize] = field;
    }
}

impl<'a> Token<'a> {
    /// Validates `bytes` and reads its fields; the proofs with a secret are appended to `proofs`. Fields
    /// are first tried in the order of the document before, which `order` remembers.
    pub(crate) fn parse(
        bytes: &'a [u8],
        order: &mut FieldOrder,
        proofs: &mut Vec<Proof<'a>>,
    ) -> Result<Token<'a>, Malformed> {
        let mut token = Token { bytes, ..Token::default() };
        let mut fields = elements(bytes)?;
        let (mut has_proofs, mut has_metadata) = token.read_usual(&mut fields, proofs)?;
        // What stands at the beginning is remembered as what follows an unknown field.
        let mut field = Field::Other;
        loop {
            let expected = order.expected(field);
            let guessed = expected.is_next(&fields).and_then(|name| fields.next_named(name));
            let element = match guessed {
                Some(element) => {
                    field = expected;
                    element?
                }
                None => {
                    let Some(element) = fields.next() else { break };
                    let element = element?;
                    let found = Field::of(element.name);
                    order.note(field, found);
                    field = found;
                    element
                }
            };
            let mut duplicate = false;
            let mut first = |field: &mut Option<Value<'a>>| match field {
                None => *field = Some(element.value),
                Some(_) => duplicate = true,
            };
            match field {
                Field::Id => first(&mut token.id),
                Field::Npub => first(&mut token.npub),
                Field::WalletId => first(&mut token.wallet_id),
                Field::MintUrl => first(&mut token.mint_url),
                Field::TotalAmount => first(&mut token.total_amount),
                Field::TransactionType => first(&mut token.transaction_type),
                Field::TransactionId => first(&mut token.transaction_id),
                Field::CreatedAt => first(&mut token.created_at),
                Field::Status => first(&mut token.status),
                Field::SpentAt => first(&mut token.spent_at),
                Field::UpdatedAt => first(&mut token.updated_at),
                Field::Proofs if !has_proofs => {
                    has_proofs = true;
                    if element.value.kind == ValueKind::Array {
                        token.read_proofs(&element, proofs)?;
                        continue;
                    }
                }
                Field::Metadata if !has_metadata => {
                    has_metadata = true;
                    if element.value.kind == ValueKind::Document {
                        token.metadata = Metadata::parse(&element)?;
                        continue;
                    }
                }
                Field::Proofs | Field::Metadata | Field::Other => {}
            }
            token.has_duplicate_field |= duplicate && field.is_changed_by_the_rule();
            validate_value(&element, OUTERMOST)?;
        }
        let text = |value: Option<Value<'a>>| value.and_then(Value::as_text_bytes);
        token.words = (
            text(token.status).and_then(Status::from_bytes),
            text(token.transaction_type).and_then(TransactionType::from_bytes),
        );
        Ok(token)
    }

    /// Reads the fields that stand as the service writes them, and stops where something else stands. Tells
    /// whether `proofs` and `metadata` were read.
    fn read_usual(
        &mut self,
        fields: &mut Elements<'a>,
        proofs: &mut Vec<Proof<'a>>,
    ) -> Result<(bool, bool), Malformed> {
        self.id = fields.next_sized::<12, _>(ValueKind::ObjectId, b"_id\0");
        self.npub = fields.next_text(b"npub\0");
        self.wallet_id = fields.next_sized::<12, _>(ValueKind::ObjectId, b"wallet_id\0");
        let array = fields.next_nested(ValueKind::Array, b"proofs\0");
        if let Some(array) = &array {
            self.read_proofs(array, proofs)?;
        }
        self.mint_url = fields.next_text(b"mint_url\0");
        self.total_amount = fields.next_sized::<4, _>(ValueKind::Int32, b"total_amount\0");
        self.status = fields.next_text(b"status\0");
        self.transaction_type = fields.next_text(b"transaction_type\0");
        self.transaction_id = fields.next_text(b"transaction_id\0");
        let metadata = fields.next_nested(ValueKind::Document, b"metadata\0");
        if let Some(metadata) = &metadata {
            self.metadata = Metadata::parse(metadata)?;
        }
        self.spent_at = fields.next_sized::<8, _>(ValueKind::DateTime, b"spent_at\0");
        if self.spent_at.is_none() {
            self.spent_at = fields.next_sized::<0, _>(ValueKind::Null, b"spent_at\0");
        }
        self.created_at = fields.next_sized::<8, _>(ValueKind::DateTime, b"createdAt\0");
        self.updated_at = fields.next_sized::<8, _>(ValueKind::DateTime, b"updatedAt\0");
        let _ = fields.next_sized::<4, _>(ValueKind::Int32, b"__v\0");
        Ok((array.is_some(), metadata.is_some()))
    }

    fn read_proofs(
        &mut self,
        array: &Element<'a>,
        proofs: &mut Vec<Proof<'a>>,
    ) -> Result<(), Malformed> {
        for entry in array.nested(OUTERMOST)? {
            let entry = entry?;
            if entry.value.kind != ValueKind::Document {
                validate_value(&entry, OUTERMOST + 1)?;
                continue;
            }
            let mut fields = entry.nested(OUTERMOST + 1)?;
            // As the service writes them; anything else is left to the loop.
            let _ = fields.next_text(b"id\0");
            let mut amount = fields.next_sized::<4, _>(ValueKind::Int32, b"amount\0");
            let mut secret = fields.next_text(b"secret\0");
            let _ = fields.next_text(b"C\0");
            let _ = fields.next_sized::<12, _>(ValueKind::ObjectId, b"_id\0");
            for field in fields {
                let field = field?;
                match field.name {
                    b"secret" if secret.is_none() => secret = Some(field.value),
                    b"amount" if amount.is_none() => amount = Some(field.value),
                    _ => {}
                }
                validate_value(&field, OUTERMOST + 2)?;
            }
            let amount = amount.and_then(Value::as_amount);
            self.proofs += 1;
            self.proofs_amount += i128::from(amount.unwrap_or(0));
            if let Some(secret) = secret.and_then(Value::as_text_bytes)
                && !secret.is_empty()
            {
                proofs.push(Proof { secret, amount });
            }
        }
        Ok(())
    }

    pub(crate) fn status(&self) -> Option<Status> {
        self.words.0
    }

    pub(crate) fn transaction_type(&self) -> Option<TransactionType> {
        self.words.1
    }

    pub(crate) fn is_melted(&self) -> bool {
        self.transaction_type() == Some(TransactionType::Melted)
    }

    /// Whether the service would still let the user spend its proofs.
    pub(crate) fn is_spendable(&self) -> bool {
        self.status().is_some_and(Status::is_spendable)
    }

    /// Whether its proofs are gone: spent, or melted whatever the status.
    pub(crate) fn is_gone(&self) -> bool {
        self.status() == Some(Status::Spent) || self.is_melted()
    }

    /// `total_amount` when it is an amount.
    pub(crate) fn amount(&self) -> Option<i64> {
        self.total_amount?.as_amount()
    }

    /// The user's bytes; `None` when `npub` is not text.
    pub(crate) fn user(&self) -> Option<&'a [u8]> {
        self.npub?.as_text_bytes()
    }

    /// The mint's bytes; empty when `mint_url` is not text.
    pub(crate) fn mint(&self) -> &'a [u8] {
        self.mint_url.and_then(Value::as_text_bytes).unwrap_or_default()
    }
}

impl<'a> Metadata<'a> {
    fn parse(element: &Element<'a>) -> Result<Metadata<'a>, Malformed> {
        let mut metadata = Metadata::default();
        let mut fields = element.nested(OUTERMOST)?;
        // As the service writes them; anything else is left to the loop.
        metadata.source = fields.next_text(b"source\0");
        metadata.melt_transaction_id = fields.next_text(b"melt_transaction_id\0");
        let _ = fields.next_text(b"quote_id\0");
        for field in fields {
            let field = field?;
            let slot = match field.name {
                b"source" => Some(&mut metadata.source),
                b"total_amount" => Some(&mut metadata.total_amount),
                b"melt_transaction_id" => Some(&mut metadata.melt_transaction_id),
                _ => None,
            };
            if let Some(slot) = slot {
                slot.get_or_insert(field.value);
            }
            validate_value(&field, OUTERMOST + 1)?;
        }
        Ok(metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{GenerateOptions, generate_in_memory};
    use std::collections::HashSet;

    /// `document` with its fields in the opposite order; `None` when a field is there twice, as another one of
    /// them would be the first.
    fn reversed(document: &[u8]) -> Option<Vec<u8>> {
        let fields: Vec<_> = elements(document).unwrap().map(Result::unwrap).collect();
        let names: HashSet<_> = fields.iter().map(|field| field.name).collect();
        let mut bytes = document[..4].to_vec();
        fields.iter().rev().for_each(|field| bytes.extend(&document[field.start..field.end]));
        bytes.push(0);
        (names.len() == fields.len()).then_some(bytes)
    }

    #[test]
    fn fields_are_read_in_any_order_and_are_mostly_guessed() {
        let options = GenerateOptions { tokens: 2_000, seed: 3, damage: true };
        let (tokens, _, _) = generate_in_memory(&options).unwrap();
        let read = |bytes: &[u8], order: &mut FieldOrder| {
            let mut proofs = Vec::new();
            let token = Token::parse(bytes, order, &mut proofs).unwrap();
            format!("{:?} {proofs:?}", Token { bytes: b"", ..token })
        };
        let (mut usual, mut other) = (FieldOrder::default(), FieldOrder::default());
        let (mut rest, mut documents) = (&tokens[..], 0);
        while let Ok(Some(length)) = crate::document::document_length(rest) {
            let (document, after) = rest.split_at(length);
            rest = after;
            let Some(reversed) = reversed(document) else { continue };
            documents += 1;
            assert_eq!(read(document, &mut usual), read(&reversed, &mut other));
        }
        assert!(documents > options.tokens / 2, "{documents}");
        // Of fourteen fields a document; those that stand as usual are not even guessed.
        assert!(usual.misses < documents, "{} misses in {documents}", usual.misses);
        assert!(other.misses < 3 * documents, "{} misses in {documents}", other.misses);
    }
}
