//! One token of a snapshot and those that belong to it: what was spent for its melt, the change, and
//! whoever else holds its secrets.
//!
//! Two passes that read only. Secrets are compared in memory and never shown.

use super::AnalyzeError;
use super::pass;
use super::token::{FieldOrder, Proof, Token};
use crate::document::{Value, date_text, identifier_text};
use crate::model::{JsonAmount, Sha256Hash, Status, TransactionType};
use crate::progress::{Progress, Unit};
use crate::snapshot::identity::ChunkTable;
use crate::snapshot::input::Collection;
use crate::snapshot::{Snapshot, SnapshotError};
use serde::Serialize;
use std::collections::HashSet;

/// Most relatives that are listed; all are counted.
const RELATIVES_MAX: usize = 50;

/// A token and those that belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Root hash of the snapshot, all of which was read.
    pub snapshot: Sha256Hash,
    /// The token, when the snapshot has it.
    pub token: Option<Member>,
    /// The others, in the snapshot's order; at most 50.
    pub relatives: Vec<Member>,
    /// How many more there are.
    pub more: u64,
}

/// A token as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its `_id`.
    pub token_id: String,
    /// What it is to the token that was asked for.
    pub relation: &'static str,
    /// Its user.
    pub npub: String,
    /// Its mint.
    pub mint_url: String,
    /// Its transaction.
    pub transaction_id: String,
    /// `transaction_type`.
    pub transaction_type: String,
    /// `status`.
    pub status: String,
    /// `metadata.source`.
    pub source: String,
    /// `total_amount`, when an amount.
    pub amount: Option<JsonAmount>,
    /// Proofs in it.
    pub proofs: u64,
    /// Those with a secret of the token that was asked for.
    pub shared_proofs: u64,
    /// `createdAt`.
    pub created_at: String,
    /// `spent_at`.
    pub spent_at: String,
}

/// Why it could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum FamilyError {
    /// The snapshot can't be read.
    #[error(transparent)]
    Read(#[from] AnalyzeError),
    /// Its documents are not those of its manifest.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// Looks for the token that reports call `id` in `snapshot`, and for those that belong to it.
///
/// # Errors
/// [`FamilyError`].
pub fn family(snapshot: &Snapshot, id: &str, progress: &Progress) -> Result<Family, FamilyError> {
    let tokens = &snapshot.input.tokens;
    let mut wanted: Option<Wanted> = None;
    let table = read(tokens, "looking for the token", progress, |token, proofs| {
        if wanted.is_none() && token.id.is_some_and(|found| is_called(found, id)) {
            wanted = Some(Wanted::new(token, proofs));
        }
    })?;
    let wallets = match &snapshot.input.wallets {
        Some(wallets) => Some(hash(wallets, progress)?),
        None => None,
    };
    let root = snapshot.check(&table, wallets.as_ref())?;
    let mut family = Family { snapshot: root, token: None, relatives: Vec::new(), more: 0 };
    let Some(wanted) = wanted else { return Ok(family) };
    read(tokens, "looking for relatives", progress, |token, proofs| {
        let Some(relative) = wanted.relative(token, proofs) else { return };
        if family.relatives.len() < RELATIVES_MAX {
            family.relatives.push(relative);
        } else {
            family.more += 1;
        }
    })?;
    family.token = Some(wanted.member);
    Ok(family)
}

fn is_called(found: Value<'_>, id: &str) -> bool {
    let text = identifier_text(found);
    text == id || super::cell_text(&text) == id
}

/// Shows every token to `visit`; gives the table of what was read.
fn read(
    tokens: &Collection,
    step: &'static str,
    progress: &Progress,
    mut visit: impl FnMut(&Token<'_>, &[Proof<'_>]),
) -> Result<ChunkTable, AnalyzeError> {
    progress.begin(step, tokens.stored_bytes(), Unit::Bytes);
    let mut order = FieldOrder::default();
    tokens.each_chunk(progress, |chunk| {
        for (start, document) in chunk.framed() {
            let mut proofs = Vec::new();
            let token = Token::parse(document, &mut order, &mut proofs)
                .map_err(pass::located(chunk, start))?;
            visit(&token, &proofs);
        }
        Ok(())
    })
}

fn hash(collection: &Collection, progress: &Progress) -> Result<ChunkTable, AnalyzeError> {
    progress.begin("reading wallets", collection.stored_bytes(), Unit::Bytes);
    collection.each_chunk(progress, |_| Ok(()))
}

/// The token that was asked for, with what its relatives have in common with it.
struct Wanted {
    member: Member,
    id: Vec<u8>,
    transaction_id: Option<Vec<u8>>,
    is_melted: bool,
    /// The melt that a change names.
    melt: Option<Vec<u8>>,
    /// Held in memory alone, to be compared.
    secrets: HashSet<Vec<u8>>,
}

impl Wanted {
    fn new(token: &Token<'_>, proofs: &[Proof<'_>]) -> Wanted {
        let is_change = token.transaction_type() == Some(TransactionType::Change);
        Wanted {
            member: member(token, "itself", proofs.len() as u64),
            id: token.id.map(|id| id.bytes.to_vec()).unwrap_or_default(),
            transaction_id: owned_text(token.transaction_id),
            is_melted: token.is_melted(),
            melt: owned_text(token.metadata.melt_transaction_id).filter(|_| is_change),
            secrets: proofs.iter().map(|proof| proof.secret.to_vec()).collect(),
        }
    }

    fn relative(&self, token: &Token<'_>, proofs: &[Proof<'_>]) -> Option<Member> {
        if token.id.is_some_and(|id| id.bytes == self.id) {
            return None;
        }
        let shared = proofs.iter().filter(|proof| self.secrets.contains(proof.secret)).count();
        let is = |text: Option<Value<'_>>, wanted: &Option<Vec<u8>>| {
            wanted.is_some() && text.and_then(Value::as_text_bytes) == wanted.as_deref()
        };
        let is_change = token.transaction_type() == Some(TransactionType::Change);
        let names = token.metadata.melt_transaction_id;
        let was_spent = token.status() == Some(Status::Spent) && !token.is_melted();
        let relation = if is_change && self.is_melted && is(names, &self.transaction_id) {
            "change"
        } else if is_change && is(names, &self.melt) {
            "change of the same melt"
        } else if token.is_melted() && is(token.transaction_id, &self.melt) {
            "the melt"
        } else if shared > 0 && self.is_melted && was_spent {
            "source"
        } else if shared > 0 {
            "same secrets"
        } else if is(token.transaction_id, &self.transaction_id) {
            "same transaction_id"
        } else {
            return None;
        };
        Some(member(token, relation, shared as u64))
    }
}

fn owned_text(value: Option<Value<'_>>) -> Option<Vec<u8>> {
    value.and_then(Value::as_text_bytes).filter(|text| !text.is_empty()).map(<[u8]>::to_vec)
}

fn member(token: &Token<'_>, relation: &'static str, shared_proofs: u64) -> Member {
    let text = |value: Option<Value<'_>>| value.map_or("(absent)".to_owned(), identifier_text);
    let date = |value: Option<Value<'_>>| value.map_or("(absent)".to_owned(), date_text);
    Member {
        token_id: text(token.id),
        relation,
        npub: text(token.npub),
        mint_url: text(token.mint_url),
        transaction_id: text(token.transaction_id),
        transaction_type: text(token.transaction_type),
        status: text(token.status),
        source: text(token.metadata.source),
        amount: token.amount().map(|amount| JsonAmount(amount.into())),
        proofs: token.proofs,
        shared_proofs,
        created_at: date(token.created_at),
        spent_at: date(token.spent_at),
    }
}
