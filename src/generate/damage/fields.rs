//! `unknown_status`, `spent_at_mismatch`, `missing_metadata`, `duplicate_field`.

use super::super::encode::Datum;
use super::super::story::Story;
use super::super::token::{Token, Word};
use super::super::workshop::Workshop;
use super::{Case, held_by, single};
use crate::model::{FindingCode, Status, TransactionType};

/// A date within every ledger's time.
const A_DATE: Datum = Datum::Date(1_740_000_000_000);

pub(super) const CASES: &[Case] = &[
    // Words that nobody knows.
    |w| unknown_status(w, Datum::text("burned")),
    |w| unknown_status(w, Datum::text("UNSPENT")),
    |w| unknown_status(w, Datum::text("")),
    |w| unknown_status(w, Datum::Absent),
    |w| unknown_status(w, Datum::Null),
    |w| unknown_status(w, Datum::Int32(1)),
    |w| unknown_type(w, Datum::text("swapped")),
    |w| unknown_type(w, Datum::text("Melted")),
    |w| unknown_type(w, Datum::Absent),
    both_unknown,
    |w| melted_in(w, Word::Odd(Datum::text("unspent "))),
    |w| melted_in(w, Word::Odd(Datum::Absent)),
    |w| melted_in(w, Word::Known(Status::Pending)),
    |w| melted_in(w, Word::Known(Status::Failed)),
    // When it was spent.
    |w| spent_at(w, Status::Spent, Datum::Null),
    |w| spent_at(w, Status::Spent, Datum::Absent),
    |w| spent_at(w, Status::Spent, Datum::text("2025-02-19T21:20:00.000Z")),
    |w| spent_at(w, Status::Spent, Datum::Timestamp(1 << 32)),
    |w| spent_at(w, Status::Unspent, A_DATE),
    |w| spent_at(w, Status::Pending, A_DATE),
    |w| spent_at(w, Status::Failed, A_DATE),
    dated_in_no_known_status,
    |w| single(w, |token| token.spent_at = Datum::text("never")),
    |w| single(w, |token| token.spent_at = Datum::Int64(1_740_000_000_000)),
    // Where it came from.
    |w| metadata_missing(w, Datum::Absent),
    |w| metadata_missing(w, Datum::Null),
    |w| metadata_missing(w, Datum::text("p2p")),
    |w| metadata_missing(w, Datum::List(vec![Datum::text("source")])),
    |w| metadata_missing(w, Datum::Fields(Vec::new())),
    |w| metadata_missing(w, Datum::Fields(vec![("source", Datum::Null)])),
    |w| metadata_missing(w, Datum::Fields(SOURCE_TWICE.to_vec())),
    |w| single(w, |token| token.set_metadata("source", Datum::text(""))),
    |w| single(w, |token| token.set_metadata("source", Datum::Int32(3))),
    // Fields twice.
    |w| doubled(w, &[("status", Datum::text("spent"))]),
    |w| doubled(w, &[("status", Datum::text("unspent")), ("status", Datum::Null)]),
    |w| doubled(w, &[("spent_at", A_DATE)]),
    |w| doubled(w, &[("updatedAt", A_DATE)]),
    |w| doubled(w, &[("updatedAt", A_DATE), ("status", Datum::text("melted"))]),
    harmless_doubles,
];

/// Read at its first occurrence, there is no source.
const SOURCE_TWICE: [(&str, Datum); 2] =
    [("source", Datum::Null), ("source", Datum::Boolean(true))];

fn unknown_status(workshop: &mut Workshop, status: Datum) -> Story {
    single(workshop, |token| {
        token.status = Word::Odd(status);
        token.mark(FindingCode::UnknownStatus);
    })
}

fn unknown_type(workshop: &mut Workshop, transaction_type: Datum) -> Story {
    single(workshop, |token| {
        token.transaction_type = Word::Odd(transaction_type);
        token.mark(FindingCode::UnknownStatus);
    })
}

/// One finding, although two words are unknown.
fn both_unknown(workshop: &mut Workshop) -> Story {
    single(workshop, |token| {
        token.status = Word::Odd(Datum::text("gone"));
        token.transaction_type = Word::Odd(Datum::Null);
        token.mark(FindingCode::UnknownStatus);
    })
}

/// Melted but not unspent: nothing for the rule.
fn melted_in(workshop: &mut Workshop, status: Word<Status>) -> Story {
    single(workshop, |token| {
        token.transaction_type = Word::Known(TransactionType::Melted);
        if matches!(status, Word::Odd(_)) {
            token.mark(FindingCode::UnknownStatus);
        }
        token.status = status;
    })
}

fn spent_at(workshop: &mut Workshop, status: Status, spent_at: Datum) -> Story {
    let user = workshop.any_user();
    let mut token = held_by(workshop, user, status);
    token.spent_at = spent_at;
    token.mark(FindingCode::SpentAtMismatch);
    Story::of(vec![token])
}

/// A date in a document whose status is unknown: two findings.
fn dated_in_no_known_status(workshop: &mut Workshop) -> Story {
    single(workshop, |token| {
        token.status = Word::Odd(Datum::text("archived"));
        token.spent_at = A_DATE;
        token.mark(FindingCode::UnknownStatus);
        token.mark(FindingCode::SpentAtMismatch);
    })
}

fn metadata_missing(workshop: &mut Workshop, metadata: Datum) -> Story {
    single(workshop, |token| {
        token.metadata = metadata;
        token.mark(FindingCode::MissingMetadata);
    })
}

/// Fields again after all others; the first occurrences count, so nothing else is wrong.
fn doubled(workshop: &mut Workshop, again: &[(&'static str, Datum)]) -> Story {
    single(workshop, |token: &mut Token| {
        if token.spent_at == Datum::Absent {
            token.spent_at = Datum::Null;
        }
        token.extra.extend_from_slice(again);
        token.mark(FindingCode::DuplicateField);
    })
}

/// Fields that the rule does not change may be there twice, and those that it does inside others.
fn harmless_doubles(workshop: &mut Workshop) -> Story {
    single(workshop, |token| {
        token.set_metadata("status", Datum::text("nested"));
        token.extra.extend([
            ("total_amount", Datum::text("not read")),
            ("npub", Datum::Int32(0)),
            ("wallet_id", Datum::Null),
            ("transaction_id", Datum::text("not read either")),
            ("note", Datum::Fields(vec![("status", Datum::Null), ("status", Datum::Null)])),
        ]);
    })
}
