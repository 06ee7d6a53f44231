//! `invalid_amounts`, `amount_mismatch`, `negative_balance`, and the odd amounts that are amounts.

use super::super::encode::Datum;
use super::super::healthy::{MELT_MELTED, melt};
use super::super::story::Story;
use super::super::token::{Proof, Proofs, Token, Word};
use super::super::workshop::Workshop;
use super::{Case, held, held_by, lone_melt, single};
use crate::model::{FindingCode, Status, TransactionType};

const DECIMAL_NAN: u128 = 0x7c << 120;
const DECIMAL_INFINITE: u128 = 0x78 << 120;
/// Where doubles stop to tell integers apart, and the next double after it.
const TWO_TO_53: i64 = 1 << 53;
const ABOVE_TWO_TO_53: f64 = 9_007_199_254_740_994.0;

pub(super) const CASES: &[Case] = &[
    // Amounts of every type.
    |w| whole_amount(w, Datum::Int64),
    |w| whole_amount(w, |sum| double(sum, false)),
    |w| whole_amount(w, |sum| Datum::decimal(false, sum.unsigned_abs(), 0)),
    |w| whole_amount(w, |sum| Datum::decimal(false, sum.unsigned_abs() * 100, -2)),
    |w| single_proof(w, 7_000, Datum::Int32(7_000), Datum::decimal(false, 7, 3)),
    |w| single_proof(w, TWO_TO_53, Datum::Int64(TWO_TO_53), Datum::Double(9_007_199_254_740_992.0)),
    |w| single_proof(w, i64::MAX, Datum::Int64(i64::MAX), Datum::decimal(false, MAX_I64, 0)),
    |w| single_proof(w, 1 << 40, Datum::Int64(1 << 40), Datum::Int64(1 << 40)),
    // Proofs' amounts of every type.
    |w| single_proof(w, 512, Datum::Int64(512), Datum::Int32(512)),
    |w| single_proof(w, 512, Datum::Double(512.0), Datum::Int32(512)),
    |w| single_proof(w, 512, Datum::decimal(false, 5_120, -1), Datum::Int32(512)),
    nothing_at_all,
    negative_proof,
    // No amounts.
    |w| no_amount(w, Datum::Absent),
    |w| no_amount(w, Datum::Null),
    |w| no_amount(w, Datum::text("2048")),
    |w| no_amount(w, Datum::Boolean(true)),
    |w| no_amount(w, Datum::Date(2048)),
    |w| no_amount(w, Datum::Fields(vec![("amount", Datum::Int32(1))])),
    |w| no_amount(w, Datum::Double(f64::NAN)),
    |w| no_amount(w, Datum::Double(f64::INFINITY)),
    |w| no_amount(w, Datum::Double(f64::NEG_INFINITY)),
    |w| no_amount(w, Datum::Double(2.5)),
    |w| no_amount(w, Datum::Double(f64::MIN_POSITIVE)),
    |w| no_amount(w, Datum::Double(ABOVE_TWO_TO_53)),
    |w| no_amount(w, Datum::Decimal(DECIMAL_NAN)),
    |w| no_amount(w, Datum::Decimal(DECIMAL_INFINITE)),
    |w| no_amount(w, Datum::decimal(false, 25, -1)),
    |w| no_amount(w, Datum::decimal(false, 1, 19)),
    |w| no_amount(w, Datum::decimal(false, MAX_I64 + 1, 0)),
    // Below zero.
    |w| negative(w, |sum| Datum::integer(-sum)),
    |w| negative(w, |sum| Datum::Int64(-sum)),
    |w| negative(w, |sum| double(sum, true)),
    |w| negative(w, |sum| Datum::decimal(true, sum.unsigned_abs(), 0)),
    // Melts that the rule repairs although their amount is odd.
    |w| melt_with_total(w, |_| (Datum::Double(f64::NAN), 0)),
    |w| melt_with_total(w, |_| (Datum::Absent, 0)),
    |w| melt_with_total(w, |sum| (Datum::integer(-sum), -sum)),
    |w| melt_of_type(w, Datum::Int64),
    |w| melt_of_type(w, |sum| double(sum, false)),
    |w| melt_of_type(w, |sum| Datum::decimal(false, sum.unsigned_abs(), 0)),
    // Not the sum of the proofs.
    |w| mismatch(w, Status::Unspent, 7),
    |w| mismatch(w, Status::Spent, -1),
    |w| mismatch(w, Status::Pending, 21),
    |w| no_proofs(w, Status::Unspent, Proofs::List(Vec::new())),
    |w| no_proofs(w, Status::Failed, Proofs::Odd(Datum::Absent)),
    |w| no_proofs(w, Status::Unspent, Proofs::Odd(Datum::text("none"))),
    |w| no_proofs(w, Status::Unspent, Proofs::Odd(Datum::List(vec![Datum::Int32(64)]))),
    |w| no_proofs(w, Status::Unspent, Proofs::Odd(Datum::Fields(vec![("0", a_proof())]))),
    |w| no_proofs(w, Status::Pending, Proofs::List(Vec::new())),
    |w| no_proofs(w, Status::Pending, Proofs::Odd(Datum::Null)),
    |w| no_proofs(w, Status::Pending, Proofs::Odd(Datum::List(vec![Datum::Null]))),
    |w| odd_proof_amount(w, Datum::text("64")),
    |w| odd_proof_amount(w, Datum::Absent),
    |w| odd_proof_amount(w, Datum::Double(0.5)),
    melt_below_its_proofs,
    // Balances.
    |w| negative_balance(w, &[Status::Unspent]),
    |w| negative_balance(w, &[Status::Pending]),
    |w| negative_balance(w, &[Status::Spent]),
    |w| negative_balance(w, &[Status::Failed]),
    |w| negative_balance(w, &[Status::Unspent, Status::Pending]),
    negative_at_two_mints,
    negative_but_covered,
    negative_in_no_known_status,
];

/// 2^63 − 1 as a decimal's coefficient.
const MAX_I64: u64 = i64::MAX.unsigned_abs();

/// A double that is this integer; the generator's ordinary sums fit 32 bits.
fn double(sum: i64, negative: bool) -> Datum {
    let sum = if negative { -sum } else { sum };
    i32::try_from(sum).map_or(Datum::Int64(sum), |sum| Datum::Double(f64::from(sum)))
}

fn whole_amount(workshop: &mut Workshop, total: fn(i64) -> Datum) -> Story {
    single(workshop, |token| token.total_amount = total(token.counted))
}

/// One proof worth `counted`, its amount and the document's written in different ways.
fn single_proof(workshop: &mut Workshop, counted: i64, amount: Datum, total: Datum) -> Story {
    let mut proof = workshop.proof_of(counted);
    proof.amount = amount;
    let user = workshop.fresh_user();
    let kind = TransactionType::Minted;
    let mut token = workshop.token(user, kind, Status::Unspent, vec![proof]);
    token.total_amount = total;
    Story::of(vec![token])
}

/// Nothing, and a total of minus zero: that is no mismatch.
fn nothing_at_all(workshop: &mut Workshop) -> Story {
    single(workshop, |token| {
        token.proofs = Proofs::List(Vec::new());
        token.set_total(Datum::Double(-0.0), 0);
    })
}

/// A proof below zero counts in the sum as it is.
fn negative_proof(workshop: &mut Workshop) -> Story {
    let proofs = vec![workshop.proof_of(64), workshop.proof_of(-16)];
    let user = workshop.any_user();
    let kind = TransactionType::Received;
    Story::of(vec![workshop.token(user, kind, Status::Unspent, proofs)])
}

fn no_amount(workshop: &mut Workshop, total: Datum) -> Story {
    single(workshop, |token| {
        token.set_total(total, 0);
        token.mark(FindingCode::InvalidAmounts);
    })
}

fn make_negative(token: &mut Token, total: fn(i64) -> Datum) {
    token.set_total(total(token.counted), -token.counted);
    token.mark(FindingCode::InvalidAmounts);
}

fn negative(workshop: &mut Workshop, total: fn(i64) -> Datum) -> Story {
    single(workshop, |token| make_negative(token, total))
}

fn melt_with_total(workshop: &mut Workshop, total: fn(i64) -> (Datum, i64)) -> Story {
    let mut melted = lone_melt(workshop);
    let (datum, counted) = total(melted.counted);
    melted.set_total(datum, counted);
    melted.mark(FindingCode::InvalidAmounts);
    Story::of(vec![melted])
}

fn melt_of_type(workshop: &mut Workshop, total: fn(i64) -> Datum) -> Story {
    let mut melted = lone_melt(workshop);
    melted.total_amount = total(melted.counted);
    Story::of(vec![melted])
}

fn mark_mismatch(token: &mut Token, difference: i64) {
    token.mark_amount(FindingCode::AmountMismatch, difference.abs());
}

fn mismatch(workshop: &mut Workshop, status: Status, difference: i64) -> Story {
    let user = workshop.any_user();
    let mut token = held_by(workshop, user, status);
    let total = token.counted + difference;
    token.set_total(Datum::integer(total), total);
    mark_mismatch(&mut token, difference);
    Story::of(vec![token])
}

/// A total of 64 and nothing that would be a proof: awaited when pending, else a mismatch.
fn no_proofs(workshop: &mut Workshop, status: Status, proofs: Proofs) -> Story {
    let user = workshop.any_user();
    let mut token = held_by(workshop, user, status);
    token.proofs = proofs;
    token.set_total(Datum::Int32(64), 64);
    if status != Status::Pending {
        mark_mismatch(&mut token, 64);
    }
    Story::of(vec![token])
}

/// A document that would be a proof, were it in an array.
fn a_proof() -> Datum {
    Datum::Fields(vec![("amount", Datum::Int32(64)), ("secret", Datum::text("not in an array"))])
}

/// The last proof's amount is no amount, so the total exceeds the sum by what it was.
fn odd_proof_amount(workshop: &mut Workshop, amount: Datum) -> Story {
    let odd = Proof { amount, counted: 0, ..workshop.proof() };
    let worth = 64;
    single(workshop, |token| {
        let total = token.counted + worth;
        if let Proofs::List(proofs) = &mut token.proofs {
            proofs.push(odd);
        }
        token.set_total(Datum::integer(total), total);
        mark_mismatch(token, worth);
    })
}

/// Below and not above, so that no change is missing.
fn melt_below_its_proofs(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    let mut story = melt(workshop, user, Status::Unspent);
    let melted = &mut story.tokens[MELT_MELTED];
    let total = melted.counted - 1;
    melted.set_total(Datum::integer(total), total);
    mark_mismatch(melted, 1);
    story
}

/// A user whose only documents are below zero, at one mint; the balance is the truth's to sum.
fn negative_balance(workshop: &mut Workshop, statuses: &[Status]) -> Story {
    let user = workshop.fresh_user();
    let wallet = workshop.wallet_of(user);
    let mut tokens = Vec::new();
    for &status in statuses {
        let proofs = workshop.proofs(1);
        let kind = TransactionType::Sent;
        let mut token = workshop.token_in(&wallet, user, kind, status, proofs);
        make_negative(&mut token, |sum| Datum::integer(-sum));
        tokens.push(token);
    }
    Story::of(tokens)
}

/// One user, two mints, both below zero: two findings of one user.
fn negative_at_two_mints(workshop: &mut Workshop) -> Story {
    let user = workshop.fresh_user();
    let npub = Datum::Text(workshop.users[user].npub.clone());
    let mut tokens = Vec::new();
    for mint in ["https://first.example.org", "https://second.example.org"] {
        let wallet = workshop.wallet(&npub, Datum::text(mint), "sat");
        let proofs = workshop.proofs(1);
        let kind = TransactionType::Sent;
        let mut token = workshop.token_in(&wallet, user, kind, Status::Unspent, proofs);
        make_negative(&mut token, |sum| Datum::integer(-sum));
        tokens.push(token);
    }
    Story::of(tokens)
}

/// Below zero in one document, above it in sum.
fn negative_but_covered(workshop: &mut Workshop) -> Story {
    let user = workshop.fresh_user();
    let wallet = workshop.wallet_of(user);
    let (much, little) = (workshop.proof_of(4096), workshop.proof_of(2));
    let kind = TransactionType::Received;
    let covering = workshop.token_in(&wallet, user, kind, Status::Unspent, vec![much]);
    let mut covered = workshop.token_in(&wallet, user, kind, Status::Unspent, vec![little]);
    make_negative(&mut covered, |sum| Datum::integer(-sum));
    Story::of(vec![covering, covered])
}

/// An unknown status is in no balance.
fn negative_in_no_known_status(workshop: &mut Workshop) -> Story {
    let user = workshop.fresh_user();
    let mut token = held_by(workshop, user, Status::Unspent);
    make_negative(&mut token, |sum| Datum::integer(-sum));
    token.status = Word::Odd(Datum::text("refunded"));
    token.mark(FindingCode::UnknownStatus);
    Story::of(vec![token, held(workshop)])
}
