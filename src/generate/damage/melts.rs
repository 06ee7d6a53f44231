//! `missing_change`, melts that the rule leaves alone, and melts that it must not mistake.

use super::super::encode::Datum;
use super::super::healthy::{MELT_CHANGE, MELT_MELTED, melt_of};
use super::super::story::Story;
use super::super::token::{Token, Word};
use super::super::workshop::Workshop;
use super::{Case, lone_melt};
use crate::model::{FindingCode, Status, TransactionType};

/// What came back, or should have, from the melts here.
const BACK: i64 = 5;

pub(super) const CASES: &[Case] = &[
    // The change is missing.
    |w| without_change(w, Status::Unspent, |_| ()),
    |w| without_change(w, Status::Spent, |_| ()),
    |w| {
        without_change(w, Status::Unspent, |melted| {
            write_cost(melted, Datum::Int64);
        })
    },
    |w| without_change(w, Status::Unspent, |melted| write_cost(melted, decimal)),
    |w| {
        with_other_change(w, |change| {
            change.set_metadata("melt_transaction_id", Datum::text("tx_melted_of_nobody"));
        })
    },
    |w| {
        with_other_change(w, |change| {
            change.transaction_type = Word::Known(TransactionType::Received);
        })
    },
    |w| {
        with_other_change(w, |change| {
            change.set_metadata("melt_transaction_id", Datum::Absent);
        })
    },
    ids_that_are_no_text,
    cost_below_zero,
    // It is not.
    |w| {
        with_good_change(w, |_, change| {
            change.status = Word::Known(Status::Spent);
            change.spent_at = Datum::Date(change.created_ms);
        })
    },
    |w| {
        with_good_change(w, |melted, _| {
            melted.set_metadata("total_amount", Datum::text("1"));
        })
    },
    |w| {
        with_good_change(w, |melted, _| {
            melted.set_metadata("total_amount", Datum::Null);
        })
    },
    change_of_another_user,
    // Melted and unspent, but not to be written.
    |w| doubled(w, Status::Unspent, ("status", Datum::text("spent"))),
    |w| doubled(w, Status::Unspent, ("spent_at", Datum::Date(1_740_000_000_000))),
    |w| doubled(w, Status::Unspent, ("updatedAt", Datum::Null)),
    |w| doubled(w, Status::Spent, ("status", Datum::text("unspent"))),
    // Repaired in other shapes.
    |w| odd_melt(w, |melted| melted.updated_at = Datum::Absent),
    |w| odd_melt(w, |melted| melted.updated_at = Datum::text("yesterday")),
    |w| odd_melt(w, |melted| melted.spent_at = Datum::Absent),
    |w| odd_melt(w, |melted| melted.spent_at = Datum::text("")),
    |w| {
        odd_melt(w, |melted| {
            melted.spent_at = Datum::Date(melted.created_ms);
            melted.mark(FindingCode::SpentAtMismatch);
        })
    },
    |w| {
        odd_melt(w, |melted| {
            melted.metadata = Datum::Absent;
            melted.mark(FindingCode::MissingMetadata);
        })
    },
];

/// A melt of which [`BACK`] came back.
fn overpaid_melt(workshop: &mut Workshop, status: Status) -> Story {
    let user = workshop.any_user();
    let proofs = vec![workshop.proof_of(64), workshop.proof()];
    melt_of(workshop, user, status, proofs, 2, BACK)
}

fn mark_missing(melted: &mut Token, amount: i64) {
    melted.mark_amount(FindingCode::MissingChange, amount);
}

fn without_change(workshop: &mut Workshop, status: Status, odd: fn(&mut Token)) -> Story {
    let mut story = overpaid_melt(workshop, status);
    story.tokens.truncate(MELT_CHANGE);
    odd(&mut story.tokens[MELT_MELTED]);
    mark_missing(&mut story.tokens[MELT_MELTED], BACK);
    story
}

/// Writes the melt's cost as another type.
fn write_cost(melted: &mut Token, as_type: fn(i64) -> Datum) {
    melted.set_metadata("total_amount", as_type(melted.counted - BACK));
}

fn decimal(cost: i64) -> Datum {
    Datum::decimal(false, cost.unsigned_abs() * 10, -1)
}

/// There is something that looks like the change and is not.
fn with_other_change(workshop: &mut Workshop, odd: fn(&mut Token)) -> Story {
    let mut story = overpaid_melt(workshop, Status::Unspent);
    odd(&mut story.tokens[MELT_CHANGE]);
    mark_missing(&mut story.tokens[MELT_MELTED], BACK);
    story
}

/// Equal numbers on both sides, where only text counts.
fn ids_that_are_no_text(workshop: &mut Workshop) -> Story {
    let mut story = overpaid_melt(workshop, Status::Unspent);
    let id = Datum::Int32(workshop.number());
    story.tokens[MELT_MELTED].transaction_id = id.clone();
    story.tokens[MELT_CHANGE].set_metadata("melt_transaction_id", id);
    mark_missing(&mut story.tokens[MELT_MELTED], BACK);
    story
}

/// A cost below zero is an amount, and every total exceeds it.
fn cost_below_zero(workshop: &mut Workshop) -> Story {
    let mut story = overpaid_melt(workshop, Status::Spent);
    story.tokens.truncate(MELT_CHANGE);
    let melted = &mut story.tokens[MELT_MELTED];
    melted.set_metadata("total_amount", Datum::Int32(-1));
    let difference = melted.counted + 1;
    mark_missing(melted, difference);
    story
}

fn with_good_change(workshop: &mut Workshop, odd: fn(&mut Token, &mut Token)) -> Story {
    let mut story = overpaid_melt(workshop, Status::Spent);
    if let [_, melted, change] = story.tokens.as_mut_slice() {
        odd(melted, change);
    }
    story
}

/// The change is found by the melt's id alone.
fn change_of_another_user(workshop: &mut Workshop) -> Story {
    let mut story = overpaid_melt(workshop, Status::Unspent);
    let other = workshop.fresh_user();
    let wallet = workshop.wallet_of(other);
    let change = &mut story.tokens[MELT_CHANGE];
    change.owner = Some(other);
    change.npub = Datum::Text(workshop.users[other].npub.clone());
    change.wallet_id = wallet.id;
    change.mint_url = wallet.mint_url;
    story
}

/// A field that the rule changes is there twice; the first one counts.
fn doubled(workshop: &mut Workshop, status: Status, second: (&'static str, Datum)) -> Story {
    let mut melted = lone_melt(workshop);
    melted.status = Word::Known(status);
    melted.spent_at = match status {
        Status::Spent => Datum::Date(melted.created_ms),
        _ => Datum::Null,
    };
    melted.extra.push(second);
    melted.mark(FindingCode::DuplicateField);
    Story::of(vec![melted])
}

fn odd_melt(workshop: &mut Workshop, odd: fn(&mut Token)) -> Story {
    let mut melted = lone_melt(workshop);
    odd(&mut melted);
    Story::of(vec![melted])
}
