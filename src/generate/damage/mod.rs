//! Everything that can be wrong with a ledger, or odd and yet right.
//!
//! Each case is one story. A case that is odd but no finding marks nothing, and it is as important:
//! both sides of every definition in `docs/findings.md` stand here.

mod amounts;
mod duplicates;
mod fields;
mod identity;
mod melts;
mod oddities;

use super::story::Story;
use super::token::{Token, UserIndex};
use super::workshop::Workshop;
use crate::model::{Status, TransactionType};

/// Makes one story of a kind.
type Case = fn(&mut Workshop) -> Story;

/// Every kind of damage and oddity, by what it concerns.
const CATALOGUE: [&[Case]; 6] = [
    melts::CASES,
    duplicates::CASES,
    amounts::CASES,
    identity::CASES,
    fields::CASES,
    oddities::CASES,
];

/// How many kinds there are.
pub(super) fn kinds() -> usize {
    CATALOGUE.iter().map(|cases| cases.len()).sum()
}

/// The `number`th story of damage: the catalogue in its order, again and again.
pub(super) fn story(workshop: &mut Workshop, number: usize) -> Story {
    let mut position = number % kinds();
    for cases in CATALOGUE {
        if let Some(case) = cases.get(position) {
            return case(workshop);
        }
        position -= cases.len();
    }
    unreachable!("a position below the number of kinds is in the catalogue")
}

/// An ordinary document that the user could spend.
fn held(workshop: &mut Workshop) -> Token {
    let user = workshop.any_user();
    held_by(workshop, user, Status::Unspent)
}

/// An ordinary received document of `user`.
fn held_by(workshop: &mut Workshop, user: UserIndex, status: Status) -> Token {
    let count = workshop.random.between(1, 5);
    let proofs = workshop.proofs(count);
    workshop.token(user, TransactionType::Received, status, proofs)
}

/// A document that was melted wrongly; what it was paid with was forgotten long ago.
fn lone_melt(workshop: &mut Workshop) -> Token {
    let user = workshop.any_user();
    let count = workshop.random.between(1, 5);
    let proofs = workshop.proofs(count);
    workshop.token(user, TransactionType::Melted, Status::Unspent, proofs)
}

/// A story of one ordinary document that `change` makes odd.
fn single(workshop: &mut Workshop, change: impl FnOnce(&mut Token)) -> Story {
    let mut token = held(workshop);
    change(&mut token);
    Story::of(vec![token])
}
