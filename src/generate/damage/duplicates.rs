//! `duplicate_secrets` in its three classes, `double_counted`, `duplicate_transaction_id`.

use super::super::encode::Datum;
use super::super::healthy::{MELT_CHANGE, MELT_MELTED, melt, melt_of};
use super::super::story::{DuplicateClass, Story, copy_of};
use super::super::token::{Proof, Proofs, Secret, Token, UserIndex, Word};
use super::super::workshop::Workshop;
use super::{Case, held, held_by};
use crate::model::{FindingCode, Status, TransactionType};

pub(super) const CASES: &[Case] = &[
    // Spendable here, gone there.
    |w| copied(w, &[Status::Spent, Status::Unspent], Users::One, Verdict::AllSpendable),
    |w| copied(w, &[Status::Pending, Status::Spent], Users::One, Verdict::AllSpendable),
    |w| copied(w, &[Status::Spent, Status::Unspent], Users::Many, Verdict::AllSpendable),
    |w| copied(w, &SPENT_AND_TWICE, Users::Many, Verdict::AllSpendable),
    melted_twice,
    kept_proof_copied,
    melted_while_source_is_held,
    // Spendable twice.
    |w| copied(w, &[Status::Unspent, Status::Unspent], Users::One, Verdict::AllButOne),
    |w| copied(w, &[Status::Unspent, Status::Pending], Users::Many, Verdict::AllButOne),
    |w| copied(w, &[Status::Unspent; 3], Users::Many, Verdict::AllButOne),
    |w| twice_in_one(w, Status::Unspent),
    |w| twice_in_one(w, Status::Pending),
    larger_copy,
    twice_in_one_melted,
    // Of several users, no money counted twice.
    |w| copied(w, &[Status::Spent, Status::Spent], Users::Many, Verdict::CrossUser),
    |w| copied(w, &[Status::Failed, Status::Unspent], Users::Many, Verdict::CrossUser),
    // Benign.
    |w| copied(w, &[Status::Spent, Status::Spent], Users::One, Verdict::Benign),
    |w| copied(w, &[Status::Failed, Status::Failed], Users::One, Verdict::Benign),
    |w| copied(w, &[Status::Unspent, Status::Failed], Users::One, Verdict::Benign),
    |w| twice_in_one(w, Status::Spent),
    spendable_and_unknown,
    not_utf8,
    // Secrets that are none, or differ.
    |w| alike_but_no_secret(w, Datum::text("")),
    |w| alike_but_no_secret(w, Datum::Int32(7)),
    |w| alike_but_no_secret(w, Datum::Absent),
    |w| alike_but_no_secret(w, Datum::Null),
    upper_case_secret,
    // Transaction ids.
    |w| same_transaction_id(w, 2, Users::One),
    |w| same_transaction_id(w, 2, Users::Many),
    |w| same_transaction_id(w, 3, Users::Many),
    same_number_as_transaction_id,
    other_type_of_transaction_id,
    |w| no_transaction_id(w, &Datum::Null),
    |w| no_transaction_id(w, &Datum::Absent),
];

const SPENT_AND_TWICE: [Status; 3] = [Status::Unspent, Status::Spent, Status::Unspent];

/// Whether all documents of a story are one user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Users {
    One,
    Many,
}

/// What a secret in several documents is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Double counted: every spendable copy is phantom.
    AllSpendable,
    /// Double counted: every copy but one is phantom; all are spendable and of one amount.
    AllButOne,
    CrossUser,
    Benign,
}

/// So many users: the same one again and again, or all different.
fn users(workshop: &mut Workshop, count: usize, users: Users) -> Vec<UserIndex> {
    let one = workshop.any_user();
    (0..count)
        .map(|_| match users {
            Users::One => one,
            Users::Many => workshop.fresh_user(),
        })
        .collect()
}

/// A received document that holds `proof` among others.
fn holding(workshop: &mut Workshop, user: UserIndex, status: Status, proof: &Proof) -> Token {
    let id = workshop.object_id(workshop.now_ms);
    let proofs = vec![workshop.proof(), copy_of(proof, id)];
    let token = workshop.token(user, TransactionType::Received, status, proofs);
    let later = workshop.later();
    workshop.at(token, later)
}

/// One document for each status, all with the same proof.
fn copied(workshop: &mut Workshop, statuses: &[Status], owners: Users, verdict: Verdict) -> Story {
    let owners = users(workshop, statuses.len(), owners);
    let proof = workshop.proof();
    let tokens: Vec<Token> = statuses
        .iter()
        .zip(owners)
        .map(|(&status, owner)| holding(workshop, owner, status, &proof))
        .collect();
    let holders: Vec<usize> = (0..tokens.len()).collect();
    let spendable: i64 = statuses.iter().filter(|s| s.is_spendable()).map(|_| proof.counted).sum();
    let story = Story::of(tokens);
    match verdict {
        Verdict::AllSpendable => story.double_count(spendable, &holders),
        Verdict::AllButOne => story.double_count(spendable - proof.counted, &holders),
        Verdict::CrossUser => story.share(DuplicateClass::CrossUser, &holders),
        Verdict::Benign => story.share(DuplicateClass::BenignCopy, &holders),
    }
}

/// Two melted documents of one melt, both unspent: each is gone, and spendable, for the other.
fn melted_twice(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    let proof = workshop.proof();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let copy = copy_of(&proof, workshop.object_id(workshop.now_ms));
        let kind = TransactionType::Melted;
        tokens.push(workshop.token(user, kind, Status::Unspent, vec![copy]));
    }
    Story::of(tokens).double_count(2 * proof.counted, &[0, 1])
}

/// The change holds a kept proof with the secret that its spent source still has.
fn kept_proof_copied(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    let (sent, kept) = (workshop.proof_of(128), workshop.proof_of(32));
    let again = copy_of(&kept, workshop.object_id(workshop.now_ms));
    let proofs = vec![sent, kept];
    let mut story = melt_of(workshop, user, Status::Spent, proofs, 1, 0);
    story.tokens[MELT_CHANGE].proofs = Proofs::List(vec![again]);
    story.double_count(32, &[0, MELT_CHANGE])
}

/// The melt is written rightly but its source stayed unspent.
fn melted_while_source_is_held(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    let wallet = workshop.wallet_of(user);
    let proof = workshop.proof();
    let copy = copy_of(&proof, workshop.object_id(workshop.now_ms));
    let counted = proof.counted;
    let kind = TransactionType::Received;
    let source = workshop.token_in(&wallet, user, kind, Status::Unspent, vec![proof]);
    let kind = TransactionType::Melted;
    let melted = workshop.token_in(&wallet, user, kind, Status::Spent, vec![copy]);
    Story::of(vec![source, melted]).double_count(counted, &[0, 1])
}

/// One document with the same proof twice.
fn twice_in_one(workshop: &mut Workshop, status: Status) -> Story {
    let user = workshop.any_user();
    let proof = workshop.proof();
    let copy = copy_of(&proof, workshop.object_id(workshop.now_ms));
    let counted = proof.counted;
    let proofs = vec![proof, workshop.proof(), copy];
    let kind = TransactionType::Received;
    let story = Story::of(vec![workshop.token(user, kind, status, proofs)]);
    if status.is_spendable() {
        story.double_count(counted, &[0])
    } else {
        story.share(DuplicateClass::BenignCopy, &[0])
    }
}

/// Spendable twice for different amounts: all but the largest are phantom.
fn larger_copy(workshop: &mut Workshop) -> Story {
    let owners = users(workshop, 2, Users::Many);
    let small = workshop.proof_of(16);
    let large = Proof { amount: Datum::Int64(64), counted: 64, ..small.clone() };
    let first = holding(workshop, owners[0], Status::Unspent, &small);
    let second = holding(workshop, owners[1], Status::Pending, &large);
    Story::of(vec![first, second]).double_count(16, &[0, 1])
}

/// A melted, unspent document is gone and spendable, but not in another document: only one is phantom.
fn twice_in_one_melted(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    let proof = workshop.proof();
    let copy = copy_of(&proof, workshop.object_id(workshop.now_ms));
    let counted = proof.counted;
    let kind = TransactionType::Melted;
    let melted = workshop.token(user, kind, Status::Unspent, vec![proof, copy]);
    Story::of(vec![melted]).double_count(counted, &[0])
}

/// An unknown status is neither spendable nor gone.
fn spendable_and_unknown(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    let proof = workshop.proof();
    let first = holding(workshop, user, Status::Unspent, &proof);
    let mut second = holding(workshop, user, Status::Unspent, &proof);
    second.status = Word::Odd(Datum::text("burned"));
    second.mark(FindingCode::UnknownStatus);
    Story::of(vec![first, second]).share(DuplicateClass::BenignCopy, &[0, 1])
}

/// A secret that is no UTF-8 is compared by its bytes.
fn not_utf8(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    let mut secret = workshop.random.bytes::<16>().map(|byte| byte | 0x80).to_vec();
    secret.push(0xff);
    let proof = workshop.proof().with_secret(Secret::Odd(Datum::owned(secret)));
    let first = holding(workshop, user, Status::Spent, &proof);
    let second = holding(workshop, user, Status::Spent, &proof);
    Story::of(vec![first, second]).share(DuplicateClass::BenignCopy, &[0, 1])
}

/// Two documents with the same in the place of a secret, which is none.
fn alike_but_no_secret(workshop: &mut Workshop, secret: Datum) -> Story {
    let user = workshop.any_user();
    let proof = workshop.proof().with_secret(Secret::Odd(secret));
    let first = holding(workshop, user, Status::Unspent, &proof);
    let second = holding(workshop, user, Status::Spent, &proof);
    Story::of(vec![first, second])
}

/// Secrets are bytes: upper-case digits make another one.
fn upper_case_secret(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    let lower = format!("secret of {}", workshop.serial());
    let upper = lower.to_uppercase();
    let mut tokens = Vec::new();
    for text in [lower, upper] {
        let proof = workshop.proof().with_secret(Secret::Odd(Datum::owned(text)));
        tokens.push(holding(workshop, user, Status::Unspent, &proof));
    }
    Story::of(tokens)
}

fn same_transaction_id(workshop: &mut Workshop, count: usize, owners: Users) -> Story {
    let owners = users(workshop, count, owners);
    let tokens =
        owners.into_iter().map(|owner| held_by(workshop, owner, Status::Unspent)).collect();
    let holders: Vec<usize> = (0..count).collect();
    Story::of(tokens).share_transaction_id(&holders)
}

fn same_number_as_transaction_id(workshop: &mut Workshop) -> Story {
    let mut story = Story::of(vec![held(workshop), held(workshop)]);
    story.tokens[0].transaction_id = Datum::Int32(workshop.number());
    story.share_transaction_id(&[0, 1])
}

/// The same number in two types, and as text: three ids.
fn other_type_of_transaction_id(workshop: &mut Workshop) -> Story {
    let number = workshop.number();
    let ids =
        [Datum::Int32(number), Datum::Int64(i64::from(number)), Datum::owned(number.to_string())];
    let mut tokens = Vec::new();
    for id in ids {
        let mut token = held(workshop);
        token.transaction_id = id;
        tokens.push(token);
    }
    Story::of(tokens)
}

/// Several documents without an id do not share one; a melt without one finds no change.
fn no_transaction_id(workshop: &mut Workshop, id: &Datum) -> Story {
    let user = workshop.any_user();
    let mut story = melt(workshop, user, Status::Spent);
    story.tokens.truncate(MELT_CHANGE);
    let melted = &mut story.tokens[MELT_MELTED];
    // It paid exactly what it took, so nothing has to come back.
    melted.set_metadata("total_amount", Datum::integer(melted.counted));
    for token in &mut story.tokens {
        token.transaction_id = id.clone();
    }
    story
}
