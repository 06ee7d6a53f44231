//! What users do: receive, mint, send, melt.
//!
//! The only thing that goes wrong here is the bug that `remelt` repairs.

use super::encode::Datum;
use super::story::{DuplicateClass, Story, copy_of, sum_of};
use super::token::{Proof, Token, UserIndex};
use super::workshop::{Wallet, Workshop};
use crate::model::{Status, TransactionType};

/// Something that an ordinary user does.
pub(super) fn everyday(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    match workshop.random.below(100) {
        0..48 => income(workshop, user),
        48..53 => unfinished(workshop, user, Status::Pending),
        53..56 => unfinished(workshop, user, Status::Failed),
        56..86 => payment(workshop, user),
        _ => {
            // Six in ten: retries and other ways to pay wrote the document rightly.
            let wrong = workshop.bug_is_live && workshop.random.chance(60);
            let status = if wrong { Status::Unspent } else { Status::Spent };
            melt(workshop, user, status)
        }
    }
}

/// Money comes in and stays: the one story of a single document that any ledger has room for.
pub(super) fn income(workshop: &mut Workshop, user: UserIndex) -> Story {
    let proofs = workshop.usual_proofs();
    let kinds = [TransactionType::Received, TransactionType::Minted];
    let kind = workshop.random.pick(&kinds);
    Story::of(vec![workshop.token(user, kind, Status::Unspent, proofs)])
}

/// Something that was begun; what is pending may have no proofs yet.
fn unfinished(workshop: &mut Workshop, user: UserIndex, status: Status) -> Story {
    let count = if status == Status::Pending { workshop.random.below(4) } else { 2 };
    let proofs = workshop.proofs(count);
    let kinds = [TransactionType::Received, TransactionType::Minted, TransactionType::Sent];
    let kind = workshop.random.pick(&kinds);
    let mut token = workshop.token(user, kind, status, proofs);
    if token.proof_list().is_empty() {
        // The amount that is awaited: no mismatch, because the document is pending.
        token.set_total(Datum::Int32(2100), 2100);
    }
    Story::of(vec![token])
}

/// Money comes in, later some of it is sent on; the mint swaps the proofs, so no secret comes twice.
fn payment(workshop: &mut Workshop, user: UserIndex) -> Story {
    let wallet = workshop.wallet_of(user);
    let (proofs, spending) = (workshop.usual_proofs(), workshop.later());
    let source = income_in(workshop, &wallet, user, proofs, spending);
    let change_proofs = workshop.proofs(2);
    let sent_proofs = workshop.proofs(3);
    let kind = TransactionType::Sent;
    let sent = workshop.token_in(&wallet, user, kind, Status::Spent, sent_proofs);
    let sent = workshop.at(sent, spending);
    let mut tokens = vec![source, sent];
    if workshop.random.chance(50) {
        let kind = TransactionType::Change;
        let change = workshop.token_in(&wallet, user, kind, Status::Unspent, change_proofs);
        tokens.push(workshop.at(change, spending + 1));
    }
    Story::of(tokens)
}

/// A received document whose money is gone since `spending`.
fn income_in(
    workshop: &mut Workshop,
    wallet: &Wallet,
    user: UserIndex,
    proofs: Vec<Proof>,
    spending: i64,
) -> Token {
    let kinds = [TransactionType::Received, TransactionType::Minted];
    let kind = workshop.random.pick(&kinds);
    let source = workshop.token_in(wallet, user, kind, Status::Spent, proofs);
    workshop.spent_on(source, spending)
}

/// Where the documents of a melt stand in its story.
pub(super) const MELT_SOURCE: usize = 0;
/// See [`MELT_SOURCE`].
pub(super) const MELT_MELTED: usize = 1;
/// See [`MELT_SOURCE`]; only there when something came back.
pub(super) const MELT_CHANGE: usize = 2;

/// A Lightning invoice is paid: a source document, the melted one, and the change if there is any.
///
/// The melted document has the proofs that went to the mint, with the secrets that the spent source
/// document still has. While it is unspent these secrets are spendable in one document and gone in
/// another: double counted by definition. What was kept was swapped, so its secrets are new.
pub(super) fn melt(workshop: &mut Workshop, user: UserIndex, status: Status) -> Story {
    let proofs = workshop.usual_proofs();
    let keeps = proofs.len() > 1 && workshop.random.chance(50);
    let sent_count = proofs.len() - usize::from(keeps);
    let overpays = workshop.random.chance(40);
    let overpaid = if overpays { sum_of(&proofs[..sent_count]) / 8 } else { 0 };
    melt_of(workshop, user, status, proofs, sent_count, overpaid)
}

/// A melt that sends the first `sent_count` of `proofs`, worth `overpaid` more than what is to be paid.
pub(super) fn melt_of(
    workshop: &mut Workshop,
    user: UserIndex,
    status: Status,
    proofs: Vec<Proof>,
    sent_count: usize,
    overpaid: i64,
) -> Story {
    let wallet = workshop.wallet_of(user);
    let kept = sum_of(&proofs[sent_count..]);
    let melting = workshop.later();
    let mut sent = Vec::with_capacity(sent_count);
    for proof in &proofs[..sent_count] {
        let id = workshop.object_id(melting);
        sent.push(copy_of(proof, id));
    }
    let cost = sum_of(&sent) - overpaid;
    let back = kept + overpaid;

    let source = income_in(workshop, &wallet, user, proofs, melting);
    let phantoms: Vec<i64> = sent.iter().map(|proof| proof.counted).collect();
    let kind = TransactionType::Melted;
    let melted = workshop.token_in(&wallet, user, kind, status, sent);
    let mut melted = workshop.at(melted, melting);
    melted.metadata = melt_metadata(workshop, cost);
    let melt_id = melted.transaction_id.clone();
    let mut story = Story::of(vec![source, melted]);
    if back > 0 {
        let change = change(workshop, &wallet, user, melt_id, back);
        let change = workshop.at(change, melting + 2);
        story.tokens.push(change);
    }
    for phantom in phantoms {
        let holders = [MELT_SOURCE, MELT_MELTED];
        story = match status {
            Status::Unspent => story.double_count(phantom, &holders),
            _ => story.share(DuplicateClass::BenignCopy, &holders),
        };
    }
    story
}

/// The document with what came back from the melt `melt_id`.
pub(super) fn change(
    workshop: &mut Workshop,
    wallet: &Wallet,
    user: UserIndex,
    melt_id: Datum,
    amount: i64,
) -> Token {
    let proofs = workshop.change_proofs(amount);
    let kind = TransactionType::Change;
    let mut change = workshop.token_in(wallet, user, kind, Status::Unspent, proofs);
    change.metadata = Datum::Fields(vec![
        ("source", Datum::text("change")),
        ("melt_transaction_id", melt_id),
        ("quote_id", workshop.quote_id()),
    ]);
    change
}

/// The melted document's `metadata`: what the invoice and its fee reserve cost together.
fn melt_metadata(workshop: &mut Workshop, cost: i64) -> Datum {
    let fee_reserve = cost / 50;
    Datum::Fields(vec![
        ("source", Datum::text("lightning")),
        ("quote_id", workshop.quote_id()),
        ("invoice_amount", Datum::integer(cost - fee_reserve)),
        ("fee_reserve", Datum::integer(fee_reserve)),
        ("total_amount", Datum::integer(cost)),
    ])
}
