//! One token document as the analysis sees it: the fields that matter, in place.
//!
//! Parsing validates the whole document to the last nested byte in the same walk. Nothing is copied.

use crate::document::{Element, Malformed, Value, ValueKind, elements, validate_value};
use crate::model::{Status, TransactionType};

/// A token document's fields; `None` is absent. Of a field that occurs twice, the first.
#[derive(Debug, Clone, Copy)]
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

impl<'a> Token<'a> {
    /// Validates `bytes` and reads its fields; the proofs with a secret are appended to `proofs`.
    pub(crate) fn parse(
        bytes: &'a [u8],
        proofs: &mut Vec<Proof<'a>>,
    ) -> Result<Token<'a>, Malformed> {
        let mut token = Token {
            bytes,
            id: None,
            npub: None,
            wallet_id: None,
            mint_url: None,
            total_amount: None,
            status: None,
            transaction_type: None,
            transaction_id: None,
            spent_at: None,
            created_at: None,
            updated_at: None,
            metadata: Metadata::default(),
            proofs: 0,
            proofs_amount: 0,
            has_duplicate_field: false,
        };
        let (mut has_proofs, mut has_metadata) = (false, false);
        for element in elements(bytes)? {
            let element = element?;
            let mut duplicate = false;
            let mut first = |field: &mut Option<Value<'a>>| match field {
                None => *field = Some(element.value),
                Some(_) => duplicate = true,
            };
            let mut watched = false;
            match element.name {
                b"_id" => first(&mut token.id),
                b"npub" => first(&mut token.npub),
                b"wallet_id" => first(&mut token.wallet_id),
                b"mint_url" => first(&mut token.mint_url),
                b"total_amount" => first(&mut token.total_amount),
                b"transaction_type" => first(&mut token.transaction_type),
                b"transaction_id" => first(&mut token.transaction_id),
                b"createdAt" => first(&mut token.created_at),
                b"status" | b"spent_at" | b"updatedAt" => {
                    watched = true;
                    first(match element.name {
                        b"status" => &mut token.status,
                        b"spent_at" => &mut token.spent_at,
                        _ => &mut token.updated_at,
                    });
                }
                b"proofs" if !has_proofs => {
                    has_proofs = true;
                    if element.value.kind == ValueKind::Array {
                        token.read_proofs(&element, proofs)?;
                        continue;
                    }
                }
                b"metadata" if !has_metadata => {
                    has_metadata = true;
                    if element.value.kind == ValueKind::Document {
                        token.metadata = Metadata::parse(&element)?;
                        continue;
                    }
                }
                _ => {}
            }
            token.has_duplicate_field |= watched && duplicate;
            validate_value(&element, OUTERMOST)?;
        }
        Ok(token)
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
            let (mut secret, mut amount) = (None, None);
            for field in entry.nested(OUTERMOST + 1)? {
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
        Status::from_bytes(self.status?.as_text_bytes()?)
    }

    pub(crate) fn transaction_type(&self) -> Option<TransactionType> {
        TransactionType::from_bytes(self.transaction_type?.as_text_bytes()?)
    }

    pub(crate) fn is_melted(&self) -> bool {
        self.transaction_type() == Some(TransactionType::Melted)
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
        for field in element.nested(OUTERMOST)? {
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
