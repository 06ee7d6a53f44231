//! A token document under construction, and what is known to be wrong with it.
//!
//! Whoever makes a token odd says in the same breath which finding that is: the fields and the marks
//! stand side by side here. Nothing in this module looks at bytes to find something out.

use super::encode::{Datum, begin_document, begin_field, end_document, put, put_hex, put_text};
use crate::document::ValueKind;
use crate::model::{FindingCode, Status, TransactionType};
use std::borrow::Cow;

/// Position of a user in the cohort that is active.
pub(super) type UserIndex = usize;

/// Why a token has no wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orphan {
    MissingWalletId,
    DanglingWalletId,
}

/// A field that should hold one of the domain's words.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word<T> {
    Known(T),
    Odd(Datum),
}

/// A proof's secret.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Secret {
    /// 32 bytes, written as hexadecimal digits.
    Hex([u8; 32]),
    Odd(Datum),
}

/// One proof.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    pub(super) keyset: &'static str,
    /// As written.
    pub(super) amount: Datum,
    /// What the amount counts in sums.
    pub(super) counted: i64,
    pub(super) secret: Secret,
    pub(super) signature: [u8; 32],
    pub(super) id: [u8; 12],
    /// Fields after `C`: `witness`, `dleq`.
    pub(super) extra: Vec<(&'static str, Datum)>,
}

/// The field `proofs`.
#[derive(Debug, Clone)]
pub(super) enum Proofs {
    List(Vec<Proof>),
    Odd(Datum),
}

/// The order in which a document's fields are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldOrder {
    /// As mongoose writes them.
    Mongoose,
    /// Backwards, `_id` last.
    Reversed,
}

/// A token document, and what its maker knows about it.
#[derive(Debug, Clone)]
pub(super) struct Token {
    /// The user whose `npub` this bears; `None` when it bears no text.
    pub(super) owner: Option<UserIndex>,
    pub(super) id: Datum,
    pub(super) npub: Datum,
    pub(super) wallet_id: Datum,
    pub(super) proofs: Proofs,
    pub(super) mint_url: Datum,
    pub(super) total_amount: Datum,
    /// What `total_amount` counts in sums: 0 when it is no amount.
    pub(super) counted: i64,
    pub(super) status: Word<Status>,
    pub(super) transaction_type: Word<TransactionType>,
    pub(super) transaction_id: Datum,
    pub(super) metadata: Datum,
    pub(super) spent_at: Datum,
    /// Decides the document's place in the file, too.
    pub(super) created_ms: i64,
    pub(super) updated_at: Datum,
    pub(super) version: Datum,
    /// Fields written after all others.
    pub(super) extra: Vec<(&'static str, Datum)>,
    pub(super) order: FieldOrder,
    /// What is wrong with it, with the amount that each finding adds.
    pub(super) marks: Vec<(FindingCode, i128)>,
    pub(super) orphan: Option<Orphan>,
}

impl Token {
    /// Notes that this document is one of `code`'s.
    pub(super) fn mark(&mut self, code: FindingCode) {
        self.mark_amount(code, 0);
    }

    /// Notes that this document is one of `code`'s and adds `amount` to its amount.
    pub(super) fn mark_amount(&mut self, code: FindingCode, amount: i64) {
        self.marks.push((code, i128::from(amount)));
    }

    /// Whether `code` was noted.
    pub(super) fn has_mark(&self, code: FindingCode) -> bool {
        self.marks.iter().any(|(marked, _)| *marked == code)
    }

    /// Takes the wallet away, or gives an id that no wallet has.
    pub(super) fn make_orphan(&mut self, wallet_id: Datum, class: Orphan) {
        self.wallet_id = wallet_id;
        self.orphan = Some(class);
        self.mark(FindingCode::OrphanedTokens);
    }

    /// Sets a field of `metadata`.
    pub(super) fn set_metadata(&mut self, name: &'static str, datum: Datum) {
        if let Datum::Fields(fields) = &mut self.metadata {
            fields.retain(|(present, _)| *present != name);
            fields.push((name, datum));
        }
    }

    /// Sets `total_amount` to something that counts as `counted`.
    pub(super) fn set_total(&mut self, total: Datum, counted: i64) {
        self.total_amount = total;
        self.counted = counted;
    }

    /// Melted and unspent: what the rule fixes. First occurrences count, and these are they.
    pub(super) fn is_problematic(&self) -> bool {
        self.is_melted() && self.status == Word::Known(Status::Unspent)
    }

    pub(super) fn is_melted(&self) -> bool {
        self.transaction_type == Word::Known(TransactionType::Melted)
    }

    /// The proofs when they are an ordinary list.
    pub(super) fn proof_list(&self) -> &[Proof] {
        match &self.proofs {
            Proofs::List(proofs) => proofs,
            Proofs::Odd(_) => &[],
        }
    }

    /// Appends the document's bytes to `out`.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = begin_document(out);
        match self.order {
            FieldOrder::Mongoose => FIELDS.iter().for_each(|write| write(self, out)),
            FieldOrder::Reversed => FIELDS.iter().rev().for_each(|write| write(self, out)),
        }
        for (name, datum) in &self.extra {
            put(out, name, datum);
        }
        end_document(out, start);
    }
}

/// The fields in the order of mongoose 8, as in the real dumps.
const FIELDS: [fn(&Token, &mut Vec<u8>); 14] = [
    |token, out| put(out, "_id", &token.id),
    |token, out| put(out, "npub", &token.npub),
    |token, out| put(out, "wallet_id", &token.wallet_id),
    |token, out| put_proofs(out, &token.proofs),
    |token, out| put(out, "mint_url", &token.mint_url),
    |token, out| put(out, "total_amount", &token.total_amount),
    |token, out| put_word(out, "status", &token.status, Status::as_str),
    |token, out| {
        put_word(out, "transaction_type", &token.transaction_type, TransactionType::as_str);
    },
    |token, out| put(out, "transaction_id", &token.transaction_id),
    |token, out| put(out, "metadata", &token.metadata),
    |token, out| put(out, "spent_at", &token.spent_at),
    |token, out| put(out, "createdAt", &Datum::Date(token.created_ms)),
    |token, out| put(out, "updatedAt", &token.updated_at),
    |token, out| put(out, "__v", &token.version),
];

fn put_word<T: Copy>(out: &mut Vec<u8>, name: &str, word: &Word<T>, text: fn(T) -> &'static str) {
    match word {
        Word::Known(known) => put_text(out, name, text(*known).as_bytes()),
        Word::Odd(datum) => put(out, name, datum),
    }
}

fn put_proofs(out: &mut Vec<u8>, proofs: &Proofs) {
    let list = match proofs {
        Proofs::List(list) => list,
        Proofs::Odd(datum) => return put(out, "proofs", datum),
    };
    let array = begin_field(out, ValueKind::Array, "proofs");
    for (position, proof) in list.iter().enumerate() {
        let start = begin_field(out, ValueKind::Document, &position_name(position));
        put_proof(out, proof);
        end_document(out, start);
    }
    end_document(out, array);
}

fn put_proof(out: &mut Vec<u8>, proof: &Proof) {
    put_text(out, "id", proof.keyset.as_bytes());
    put(out, "amount", &proof.amount);
    match &proof.secret {
        Secret::Hex(bytes) => put_hex(out, "secret", "", bytes),
        Secret::Odd(datum) => put(out, "secret", datum),
    }
    // A point on the curve in compressed form, of which half have each parity.
    let parity = if proof.signature[31] & 1 == 0 { "02" } else { "03" };
    put_hex(out, "C", parity, &proof.signature);
    for (name, datum) in &proof.extra {
        put(out, name, datum);
    }
    put(out, "_id", &Datum::ObjectId(proof.id));
}

fn position_name(position: usize) -> Cow<'static, str> {
    const NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    NAMES
        .get(position)
        .map_or_else(|| Cow::Owned(position.to_string()), |name| Cow::Borrowed(*name))
}
