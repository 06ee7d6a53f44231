//! The oracle against counts made by hand: each definition of `docs/findings.md` on both of its sides.

#![allow(clippy::unwrap_used, clippy::float_arithmetic)]

use crate::support::ledgers::{
    Ledger, MALFORMED_NPUBS, NOT_CANONICAL, NPUBS, Value, array, date, decimal, decimal_bits,
    document, double, int32, int64, ledgers, nested, null, object_id, random_ledger, symbol, text,
    timestamp, undefined,
};
use crate::support::oracle::{
    CODES, Oracle, OracleOptions, Raw, SpentAt, analyze, documents, is_npub,
};
use proptest::prelude::*;
use serde_json::json;

const ALICE: &str = "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg";
const BOB: &str = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6";
const MINT: &str = "https://mint.a/";
const REPAIR_MS: i64 = 1_800_000_000_000;
const OPTIONS: OracleOptions =
    OracleOptions { repair_time_ms: REPAIR_MS, spent_at: SpentAt::Repair };

/// A document being written.
#[derive(Clone)]
struct Draft(Vec<(&'static [u8], Value)>);

impl Draft {
    /// Replaces the first occurrence, or appends.
    fn set(mut self, name: &'static str, value: Value) -> Draft {
        match self.0.iter_mut().find(|(n, _)| *n == name.as_bytes()) {
            Some(field) => field.1 = value,
            None => self.0.push((name.as_bytes(), value)),
        }
        self
    }

    fn also(mut self, name: &'static str, value: Value) -> Draft {
        self.0.push((name.as_bytes(), value));
        self
    }

    fn without(mut self, name: &str) -> Draft {
        self.0.retain(|(n, _)| *n != name.as_bytes());
        self
    }

    fn status(self, status: &str) -> Draft {
        self.set("status", text(status))
    }

    fn kind(self, kind: &str) -> Draft {
        self.set("transaction_type", text(kind))
    }

    fn total(self, total: Value) -> Draft {
        self.set("total_amount", total)
    }

    fn npub(self, npub: &str) -> Draft {
        self.set("npub", text(npub))
    }

    fn id(self, transaction_id: &str) -> Draft {
        self.set("transaction_id", text(transaction_id))
    }

    /// Proofs of these secrets and amounts, and their sum.
    fn proofs(self, proofs: &[(&str, i32)]) -> Draft {
        let sum = proofs.iter().map(|(_, amount)| amount).sum();
        let entries = proofs.iter().map(|&(secret, amount)| proof(secret, amount));
        self.set("proofs", array(entries.collect())).total(int32(sum))
    }
}

fn proof(secret: &str, amount: i32) -> Value {
    nested(&[(b"amount", int32(amount)), (b"secret", text(secret))])
}

/// A received, unspent token of Alice over 8 without anything wrong, if it is the only one.
fn token() -> Draft {
    Draft(vec![
        (b"_id", object_id(0x66)),
        (b"npub", text(ALICE)),
        (b"wallet_id", object_id(1)),
        (b"proofs", array(vec![nested(&[(b"amount", int32(8))])])),
        (b"mint_url", text(MINT)),
        (b"total_amount", int32(8)),
        (b"status", text("unspent")),
        (b"transaction_type", text("received")),
        (b"metadata", nested(&[(b"source", text("p2p"))])),
        (b"createdAt", date(1)),
        (b"updatedAt", date(2)),
    ])
}

fn melted() -> Draft {
    token().kind("melted")
}

fn spent() -> Draft {
    token().status("spent").set("spent_at", date(3))
}

fn wallets() -> Vec<u8> {
    document(&[(b"_id", object_id(1)), (b"npub", text(ALICE)), (b"mint_url", text(MINT))])
}

fn collection(tokens: &[Draft]) -> Vec<u8> {
    tokens.iter().flat_map(|token| document(&token.0)).collect()
}

fn oracle(tokens: &[Draft]) -> Oracle {
    analyze(&collection(tokens), Some(&wallets()), &OPTIONS)
}

fn count(code: &str, tokens: &[Draft]) -> u64 {
    oracle(tokens).finding(code).count
}

/// Count, amount, affected users.
fn numbers(code: &str, tokens: &[Draft]) -> (u64, i128, u64) {
    let oracle = oracle(tokens);
    let found = oracle.finding(code);
    (found.count, found.amount.unwrap(), found.affected_users)
}

/// How many of `tokens`, each taken alone, are counted.
fn each(code: &str, tokens: &[Draft]) -> Vec<u64> {
    let alone = tokens.iter().map(std::slice::from_ref);
    alone.map(|token| count(code, token)).collect()
}

fn classes(code: &str, tokens: &[Draft]) -> Vec<u64> {
    let oracle = oracle(tokens);
    let classes = oracle.finding(code).classes.iter();
    classes.map(|(_, count)| count.unwrap()).collect()
}

#[test]
fn a_clean_token_has_no_finding() {
    let oracle = oracle(&[token()]);
    for code in CODES {
        assert_eq!(oracle.finding(code).count, 0, "{code}");
    }
    assert_eq!(oracle.stats.total_tokens, 1);
    assert_eq!(oracle.stats.total_users, 1);
    assert_eq!(oracle.stats.total_wallets, 1);
}

#[test]
fn codes_stand_in_the_order_of_the_library() {
    let library: Vec<&str> =
        remelt::model::FindingCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(CODES.to_vec(), library);
}

#[test]
fn inconsistent_status_is_melted_and_unspent() {
    let tokens = [
        melted(),
        melted().total(double(8.5)).npub(BOB),
        melted().set("npub", null()),
        melted().status("spent"),
        melted().status("pending"),
        melted().set("status", symbol(b"unspent")),
        token(),
        // The first occurrence counts.
        melted().also("status", text("spent")),
        token().also("transaction_type", text("melted")),
    ];
    assert_eq!(numbers("inconsistent_status", &tokens), (4, 24, 2));
    let oracle = oracle(&tokens);
    assert_eq!(oracle.stats.total_melted_tokens, 7);
    assert_eq!(oracle.stats.problematic_tokens, 4);
    assert_eq!(oracle.stats.spent_melted_tokens, 1);
    assert_eq!(oracle.stats.total_users, 2);
    assert_eq!(oracle.impact.tokens_to_migrate, 3);
    assert_eq!(oracle.impact.total_amount_affected, 16);
    assert_eq!(oracle.impact.affected_users, 2);
}

#[test]
fn duplicate_secrets_are_counted_once_a_secret() {
    let a = token().proofs(&[("one", 1), ("two", 2), ("two", 2), ("", 1), ("", 1)]);
    let b = token().proofs(&[("one", 1), ("three", 4)]);
    assert_eq!(count("duplicate_secrets", std::slice::from_ref(&a)), 1);
    assert_eq!(count("duplicate_secrets", &[a.clone(), b.clone()]), 2);
    assert_eq!(count("duplicate_secrets", std::slice::from_ref(&b)), 0);
    let hidden = b.set("proofs", (0x03, array(vec![proof("one", 1)]).1));
    assert_eq!(count("duplicate_secrets", &[a.clone(), hidden]), 1);
    let entries = array(vec![array(vec![proof("one", 1)]), text("one"), null()]);
    assert_eq!(count("duplicate_secrets", &[a, token().set("proofs", entries)]), 1);
}

#[test]
fn duplicate_secrets_fall_into_three_classes() {
    let of = |draft: Draft, npub: &str| draft.npub(npub).proofs(&[("s", 4)]);
    let class = |a: Draft, b: Draft| classes("duplicate_secrets", &[a, b]);
    let melt = || spent().kind("melted");
    assert_eq!(class(of(spent(), ALICE), of(melt(), ALICE)), [1, 0, 0]);
    assert_eq!(class(of(spent(), ALICE), of(token(), ALICE)), [0, 1, 0]);
    assert_eq!(class(of(spent(), ALICE), of(token(), BOB)), [0, 1, 0]);
    assert_eq!(class(of(spent(), ALICE), of(melt(), BOB)), [0, 0, 1]);
    let nobody = of(spent(), ALICE).set("npub", int32(1));
    assert_eq!(class(of(spent(), ALICE), nobody), [0, 0, 1]);
    let failed = of(token().status("failed"), ALICE);
    assert_eq!(class(failed, of(token(), ALICE)), [1, 0, 0]);
}

#[test]
fn orphaned_tokens_miss_their_wallet_or_dangle() {
    let tokens = [
        token(),
        token().without("wallet_id"),
        token().set("wallet_id", null()),
        token().set("wallet_id", object_id(2)),
        // Same bytes, another type.
        token().set("wallet_id", text(b"\x01\x01\x01")),
        token().set("wallet_id", undefined()),
    ];
    assert_eq!(each("orphaned_tokens", &tokens), [0, 1, 1, 1, 1, 1]);
    assert_eq!(classes("orphaned_tokens", &tokens), [2, 3]);
    let alone = analyze(&collection(&tokens), None, &OPTIONS);
    assert_eq!(alone.finding("orphaned_tokens").count, 2);
    assert_eq!(alone.findings["wallet_mismatch"], None);
    let json = alone.to_json();
    assert_eq!(json["findings"]["wallet_mismatch"], json!(null));
    assert_eq!(
        json["findings"]["orphaned_tokens"],
        json!({"count": 2, "affectedUsers": 1, "classes": {"missing_wallet_id": 2, "dangling_wallet_id": null}})
    );
}

/// What may stand in `total_amount`, and the amount that it is.
fn amounts() -> Vec<(Value, Option<i128>)> {
    const EDGE: f64 = 9_007_199_254_740_992.0;
    let max = i128::from(i64::MAX);
    let min = i128::from(i64::MIN);
    vec![
        (int32(0), Some(0)),
        (int32(-1), Some(-1)),
        (int64(i64::MAX), Some(max)),
        (int64(i64::MIN), Some(min)),
        (double(8.0), Some(8)),
        (double(-0.0), Some(0)),
        (double(EDGE), Some(1 << 53)),
        (double(-EDGE), Some(-(1 << 53))),
        (double(EDGE + 2.0), None),
        (double(-EDGE - 2.0), None),
        (double(8.5), None),
        (double(5e-324), None),
        (double(f64::NAN), None),
        (double(f64::INFINITY), None),
        (decimal("8"), Some(8)),
        (decimal("8.00"), Some(8)),
        (decimal("8E+2"), Some(800)),
        (decimal("-1E+18"), Some(-1_000_000_000_000_000_000)),
        (decimal("1E+19"), None),
        (decimal("0E+6111"), Some(0)),
        (decimal("-0E-6176"), Some(0)),
        (decimal("8.5"), None),
        (decimal("1E-6176"), None),
        (decimal("1E+6144"), None),
        (decimal("9223372036854775807"), Some(max)),
        (decimal("9223372036854775808"), None),
        (decimal("-9223372036854775808.0"), Some(min)),
        (decimal("-9223372036854775809"), None),
        (decimal("9999999999999999999999999999999999"), None),
        (decimal("NaN"), None),
        (decimal("Infinity"), None),
        (decimal_bits(NOT_CANONICAL[0]), Some(0)),
        (decimal_bits(NOT_CANONICAL[1]), Some(0)),
        (decimal_bits(NOT_CANONICAL[2]), Some(0)),
        (decimal_bits(NOT_CANONICAL[3]), Some(0)),
        (text("8"), None),
        (null(), None),
        (undefined(), None),
        (date(8), None),
        (timestamp(0, 8), None),
    ]
}

#[test]
fn invalid_amounts_are_not_amounts_or_below_zero() {
    for (value, amount) in amounts() {
        let found = oracle(&[token().total(value.clone())]);
        let invalid = amount.is_none_or(|amount| amount < 0);
        assert_eq!(found.finding("invalid_amounts").count, u64::from(invalid), "{value:02x?}");
        let balance = &found.balances[&(ALICE.into(), MINT.into())];
        assert_eq!(balance.unspent_before, amount.unwrap_or(0), "{value:02x?}");
    }
    assert_eq!(count("invalid_amounts", &[token().without("total_amount")]), 1);
}

#[test]
fn missing_metadata_has_no_source() {
    let source = |value| token().set("metadata", nested(&[(b"source", value)]));
    let tokens = [
        source(text("")),
        source(int32(0)),
        source(null()),
        source(undefined()),
        token().set("metadata", nested(&[])),
        token().set("metadata", nested(&[(b"source", null()), (b"source", text("p2p"))])),
        token().set("metadata", array(vec![text("source")])),
        token().set("metadata", (0x04, nested(&[(b"source", text("p2p"))]).1)),
        token().set("metadata", null()),
        token().without("metadata"),
    ];
    assert_eq!(each("missing_metadata", &tokens), [0, 0, 1, 0, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn negative_balances_are_below_zero_in_one_status() {
    let of = |status: &str, total: i32| token().status(status).total(int32(total));
    let find = |tokens: &[Draft]| numbers("negative_balance", tokens);
    assert_eq!(find(&[of("unspent", 5), of("unspent", -5)]), (0, 0, 0));
    assert_eq!(find(&[of("unspent", 5), of("unspent", -6)]), (1, -1, 1));
    // Statuses do not make up for one another, and a pair counts once.
    assert_eq!(find(&[of("unspent", 9), of("spent", -2), of("failed", -3)]), (1, -5, 1));
    assert_eq!(find(&[of("unspent", 9), of("burnt", -2)]), (0, 0, 0));
    let elsewhere = of("pending", -2).set("mint_url", text("https://mint.b/"));
    assert_eq!(find(&[of("pending", 9), elsewhere.clone()]), (1, -2, 1));
    assert_eq!(find(&[of("pending", -1), elsewhere, of("pending", -4).npub(BOB)]), (3, -7, 2));
    // Before the repair, which would take 9 from the unspent and leave -2.
    assert_eq!(find(&[of("unspent", 9).kind("melted"), of("unspent", -2)]), (0, 0, 0));
    assert_eq!(find(&[of("unspent", -9).without("npub")]), (0, 0, 0));
}

#[test]
fn amount_mismatch_is_a_valid_amount_that_is_not_the_sum() {
    let of = |total: i32| token().proofs(&[("a", 4), ("b", 4)]).total(int32(total));
    let find = |tokens: &[Draft]| numbers("amount_mismatch", tokens);
    assert_eq!(find(&[of(8)]), (0, 0, 0));
    assert_eq!(find(&[of(9), of(5).npub(BOB)]), (2, 4, 2));
    assert_eq!(find(&[of(-8), of(0).total(text("8")), of(0).without("total_amount")]), (0, 0, 0));
    let odd = array(vec![
        nested(&[(b"amount", int64(-2))]),
        nested(&[(b"amount", text("4"))]),
        nested(&[(b"amount", decimal("4.0")), (b"amount", int32(1))]),
        int32(4),
    ]);
    assert_eq!(find(&[of(2).set("proofs", odd.clone())]), (0, 0, 0));
    assert_eq!(find(&[of(3).set("proofs", odd)]), (1, 1, 1));
    // A pending document without proofs is exempt, any other is not.
    let empty = |status| of(8).status(status).set("proofs", array(vec![]));
    assert_eq!(find(&[empty("pending"), of(8).status("pending").without("proofs")]), (0, 0, 0));
    assert_eq!(find(&[empty("unspent"), of(9).status("pending")]), (2, 9, 1));
}

#[test]
fn double_counted_is_spendable_here_and_gone_there() {
    let find = |tokens: &[Draft]| numbers("double_counted", tokens);
    let held = |status: &str| token().status(status).proofs(&[("s", 4)]);
    let gone = || spent().proofs(&[("s", 4)]);
    assert_eq!(find(&[held("unspent")]), (0, 0, 0));
    assert_eq!(find(&[held("unspent"), gone()]), (1, 4, 1));
    assert_eq!(find(&[held("pending"), gone().npub(BOB)]), (1, 4, 2));
    assert_eq!(find(&[held("failed"), gone()]), (0, 0, 0));
    assert_eq!(find(&[gone(), gone()]), (0, 0, 0));
    // A melted document is gone whatever its status, and spendable too when that says so.
    let melt = |status: &str| held(status).kind("melted");
    assert_eq!(find(&[melt("unspent")]), (0, 0, 0));
    assert_eq!(find(&[melt("unspent"), gone()]), (1, 4, 1));
    assert_eq!(find(&[melt("failed"), held("unspent")]), (1, 4, 1));
    assert_eq!(find(&[melt("failed"), gone()]), (0, 0, 0));
    assert_eq!(find(&[melt("unspent"), held("unspent")]), (1, 8, 1));
    // Gone in the same document is not another one, but two spendable proofs are enough.
    let twice = melt("unspent").proofs(&[("s", 4), ("s", 1)]);
    assert_eq!(find(std::slice::from_ref(&twice)), (1, 1, 1));
    assert_eq!(find(&[twice, gone()]), (1, 5, 1));
}

#[test]
fn double_counted_is_spendable_twice_and_the_largest_is_real() {
    let find = |tokens: &[Draft]| numbers("double_counted", tokens);
    let held = |proofs: &[(&str, i32)]| token().proofs(proofs);
    assert_eq!(find(&[held(&[("s", 4), ("t", 2)])]), (0, 0, 0));
    assert_eq!(find(&[held(&[("s", 4), ("s", 4)])]), (1, 4, 1));
    assert_eq!(find(&[held(&[("s", 1)]), held(&[("s", 8)]), held(&[("s", 2)])]), (1, 3, 1));
    assert_eq!(find(&[held(&[("s", -1)]), held(&[("s", -2)])]), (1, -2, 1));
    let failed = held(&[("s", 8)]).status("failed");
    assert_eq!(find(&[held(&[("s", 1)]), held(&[("s", 2)]), failed]), (1, 1, 1));
}

#[test]
fn spent_at_goes_with_spent_and_only_a_date_is_one() {
    let tokens = [
        spent(),
        spent().without("spent_at"),
        spent().set("spent_at", null()),
        spent().set("spent_at", text("2024-01-01")),
        spent().set("spent_at", timestamp(1, 1)),
        token(),
        token().set("spent_at", null()),
        token().set("spent_at", date(0)),
        token().set("spent_at", date(0)).without("status"),
        token().set("spent_at", null()).also("spent_at", date(0)),
    ];
    assert_eq!(each("spent_at_mismatch", &tokens), [0, 1, 1, 1, 1, 0, 0, 1, 1, 0]);
}

#[test]
fn unknown_words_count_once_a_document() {
    let tokens = [
        token(),
        token().status("Unspent"),
        token().kind("swapped"),
        token().status("").kind(""),
        token().without("status"),
        token().set("transaction_type", symbol(b"melted")),
        token().status("unspent\0"),
        token().also("status", text("burnt")),
    ];
    assert_eq!(each("unknown_status", &tokens), [0, 1, 1, 1, 1, 1, 1, 0]);
    for status in ["unspent", "spent", "pending", "failed"] {
        for kind in ["received", "sent", "minted", "melted", "change"] {
            assert_eq!(count("unknown_status", &[token().status(status).kind(kind)]), 0);
        }
    }
}

#[test]
fn duplicate_transaction_ids_are_counted_once_an_id() {
    let code = "duplicate_transaction_id";
    let id = |value: Value| token().set("transaction_id", value);
    let same = [id(text("a")), id(text("a")), id(text("a")), id(text("b"))];
    assert_eq!(count(code, &same), 1);
    assert_eq!(count(code, &[id(null()), id(null()), token(), token()]), 0);
    assert_eq!(count(code, &[id(int32(1)), id(int64(1)), id(double(1.0))]), 0);
    assert_eq!(count(code, &[id(int32(1)), id(int32(1)), id(text("")), id(text(""))]), 2);
    assert_eq!(count(code, &[id(text("a")).also("transaction_id", text("a"))]), 0);
}

#[test]
fn wallet_mismatch_needs_a_wallet_that_differs() {
    let tokens = [
        token(),
        token().npub(BOB),
        token().set("mint_url", text("https://mint.b/")),
        token().without("mint_url"),
        token().set("npub", symbol(ALICE.as_bytes())),
        token().npub(BOB).set("wallet_id", object_id(2)),
        token().npub(BOB).without("wallet_id"),
    ];
    assert_eq!(each("wallet_mismatch", &tokens), [0, 1, 1, 1, 1, 0, 0]);
    let bare = document(&[(b"_id", object_id(1)), (b"npub", text(ALICE))]);
    let found = |draft: Draft| {
        let oracle = analyze(&collection(&[draft]), Some(&bare), &OPTIONS);
        oracle.finding("wallet_mismatch").count
    };
    assert_eq!(found(token()), 1);
    assert_eq!(found(token().without("mint_url")), 0);
    assert_eq!(found(token().set("mint_url", null())), 1);
}

#[test]
fn duplicate_fields_are_those_of_the_rule_at_the_top() {
    let tokens = [
        token(),
        token().also("status", text("unspent")),
        token().also("spent_at", null()),
        token().also("spent_at", null()).also("spent_at", date(1)),
        token().also("updatedAt", date(1)),
        token().also("npub", text(BOB)).also("createdAt", null()),
        token().set(
            "metadata",
            nested(&[(b"source", text("p2p")), (b"status", null()), (b"status", null())]),
        ),
    ];
    assert_eq!(each("duplicate_field", &tokens), [0, 1, 0, 1, 1, 0, 0]);
}

#[test]
fn malformed_npubs_are_not_lower_case_bech32() {
    // The first one is NIP-19's own example of a public key.
    for good in NPUBS {
        assert!(is_npub(good.as_bytes()), "{good}");
        for at in 0..good.len() {
            let mut bad = good.as_bytes().to_vec();
            bad[at] = if bad[at] == b'q' { b'p' } else { b'q' };
            assert!(!is_npub(&bad), "{good} with another character at {at}");
        }
        assert!(!is_npub(good.to_uppercase().as_bytes()));
        assert!(!is_npub(format!("{good} ").as_bytes()));
    }
    for bad in MALFORMED_NPUBS {
        assert!(!is_npub(bad), "{}", bad.escape_ascii());
    }
    // Valid bech32 of another prefix: BIP 173's own example.
    assert!(!is_npub(b"split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w"));
    let tokens =
        [token(), token().npub("alice"), token().without("npub"), token().set("npub", null())];
    assert_eq!(each("malformed_npub", &tokens), [0, 1, 1, 1]);
    assert_eq!(each("malformed_npub", &[token().npub("npub1"), token().npub("")]), [1, 1]);
    let found = oracle(&tokens);
    assert_eq!(found.finding("malformed_npub").affected_users, 1);
    assert_eq!(found.stats.total_users, 2);
}

#[test]
fn missing_change_is_a_melt_above_its_cost_without_change() {
    let cost = |cost: Value| nested(&[(b"source", text("lightning")), (b"total_amount", cost)]);
    let melt = |total: i32, own: i32| {
        melted().id("m").total(int32(total)).set("metadata", cost(int32(own)))
    };
    let change =
        |id: Value| token().kind("change").set("metadata", nested(&[(b"melt_transaction_id", id)]));
    let find = |tokens: &[Draft]| numbers("missing_change", tokens);
    assert_eq!(find(&[melt(10, 10)]), (0, 0, 0));
    assert_eq!(find(&[melt(10, 11)]), (0, 0, 0));
    assert_eq!(find(&[melt(10, 7)]), (1, 3, 1));
    assert_eq!(find(&[melt(10, 7).status("spent"), melt(10, -1).id("n").npub(BOB)]), (2, 14, 2));
    assert_eq!(find(&[melt(10, 7).kind("sent")]), (0, 0, 0));
    assert_eq!(find(&[melt(10, 7).total(double(9.5))]), (0, 0, 0));
    assert_eq!(find(&[melt(10, 7).set("metadata", cost(text("7")))]), (0, 0, 0));
    assert_eq!(find(&[melt(10, 7), change(text("m"))]), (0, 0, 0));
    assert_eq!(find(&[change(text("m")).npub(BOB).status("failed"), melt(10, 7)]), (0, 0, 0));
    assert_eq!(find(&[melt(10, 7), change(text("n"))]), (1, 3, 1));
    assert_eq!(find(&[melt(10, 7), change(text("m")).kind("received")]), (1, 3, 1));
    // Both must be text.
    let id = || int32(5);
    assert_eq!(find(&[melt(10, 7).set("transaction_id", id()), change(id())]), (1, 3, 1));
}

#[test]
fn balances_move_from_unspent_to_spent() {
    let tokens = [
        token(),
        melted().total(int32(5)),
        melted().total(int32(3)).also("status", text("unspent")),
        spent().total(int64(7)),
        token().status("pending").total(double(2.0)),
        token().status("burnt").npub(BOB),
        melted().without("npub").set("mint_url", int32(1)),
    ];
    let found = oracle(&tokens);
    assert_eq!(found.balances.len(), 3);
    let alice = &found.balances[&(ALICE.into(), MINT.into())];
    assert_eq!((alice.unspent_before, alice.unspent_after, alice.delta), (16, 11, -5));
    assert_eq!((alice.spent_before, alice.spent_after, alice.pending), (7, 12, 2));
    assert_eq!(alice.tokens_fixed, 1);
    assert_eq!(found.balances[&(BOB.into(), MINT.into())], Default::default());
    assert_eq!(found.balances[&(vec![], vec![])].delta, -8);
}

fn raw((kind, bytes): Value) -> Option<Raw> {
    Some(Raw { kind, bytes })
}

#[test]
fn the_rule_keeps_every_other_byte() {
    let before = [
        melted().set("spent_at", null()),
        token(),
        melted().without("updatedAt").also("$odd", text(b"\xff")),
        melted().set("updatedAt", text("then")),
    ];
    let t = || date(REPAIR_MS);
    let after = [
        melted().status("spent").set("spent_at", t()).set("updatedAt", t()),
        token(),
        melted()
            .status("spent")
            .without("updatedAt")
            .also("$odd", text(b"\xff"))
            .also("spent_at", t()),
        melted().status("spent").set("updatedAt", t()).also("spent_at", t()),
    ];
    // `set` appends what is absent, so the first document's `spent_at` stands last in both.
    let found = oracle(&before);
    assert_eq!(found.repaired(&collection(&before)), collection(&after));
    let indexes: Vec<usize> = found.changes.iter().map(|change| change.index).collect();
    assert_eq!(indexes, [0, 2, 3]);
    let change = &found.changes[1];
    assert_eq!(change.id, raw(object_id(0x66)));
    assert_eq!(change.status.before, raw(text("unspent")));
    assert_eq!(change.status.after, raw(text("spent")));
    assert_eq!((&change.spent_at.before, &change.spent_at.after), (&None, &raw(t())));
    assert_eq!((&change.updated_at.before, &change.updated_at.after), (&None, &None));
}

#[test]
fn the_rule_takes_the_time_that_is_asked_for() {
    let tokens =
        collection(&[melted(), melted().set("createdAt", text("then")).without("updatedAt")]);
    let times = |spent_at| {
        let options = OracleOptions { spent_at, ..OPTIONS };
        let found = analyze(&tokens, None, &options);
        let after = found.changes.into_iter().map(|change| change.spent_at.after);
        let reasons = found.not_changed.into_iter().map(|not| not.reason);
        (after.collect::<Vec<_>>(), reasons.collect::<Vec<_>>())
    };
    let repair = raw(date(REPAIR_MS));
    assert_eq!(times(SpentAt::Repair), (vec![repair.clone(), repair], vec![]));
    assert_eq!(times(SpentAt::Created), (vec![raw(date(1))], vec!["no_own_time"]));
    assert_eq!(times(SpentAt::Updated), (vec![raw(date(2))], vec!["no_own_time"]));
}

#[test]
fn the_rule_leaves_what_has_no_room() {
    // The repair takes 2 bytes from the status and appends 18 for `spent_at`.
    let padded = |bytes_max: usize| {
        let padding = bytes_max - document(&melted().also("note", text("")).0).len();
        melted().also("note", text("x".repeat(padding)))
    };
    let found = oracle(&[padded(16_777_216 - 16), padded(16_777_216 - 15)]);
    assert_eq!(found.changes.len(), 1);
    assert_eq!(found.changes[0].index, 0);
    assert_eq!(found.not_changed[0].reason, "no_room");
    assert_eq!(found.stats.problematic_tokens, 2);
    assert_eq!(found.impact.tokens_to_migrate, 1);
}

#[test]
fn a_document_with_a_duplicate_field_is_left_alone() {
    let tokens = [melted().also("updatedAt", date(2))];
    let found = oracle(&tokens);
    assert_eq!(found.not_changed[0].reason, "duplicate_field");
    assert_eq!(found.repaired(&collection(&tokens)), collection(&tokens));
}

#[test]
fn amounts_above_javascripts_are_strings() {
    let big = melted().total(int64((1 << 53) + 1));
    let json = oracle(&[big]).to_json();
    assert_eq!(json["impact"]["totalAmountAffected"], json!("9007199254740993"));
    assert_eq!(json["findings"]["inconsistent_status"]["amount"], json!("9007199254740993"));
    let exact = melted().total(int64(1 << 53));
    let json = oracle(&[exact]).to_json();
    assert_eq!(json["impact"]["totalAmountAffected"], json!(9_007_199_254_740_992_i64));
}

#[test]
fn an_empty_ledger_is_all_zero() {
    let found = analyze(&[], Some(&[]), &OPTIONS);
    assert!(CODES.iter().all(|code| found.finding(code).count == 0));
    assert_eq!(found.stats.total_users, 0);
    assert!(found.repaired(&[]).is_empty());
}

/// What must hold for every ledger.
fn check(ledger: &Ledger, spent_at: SpentAt) {
    for document in documents(&ledger.tokens).into_iter().chain(documents(&ledger.wallets)) {
        remelt::document::validate(document).unwrap();
    }
    let options = OracleOptions { spent_at, ..OPTIONS };
    let before = analyze(&ledger.tokens, Some(&ledger.wallets), &options);
    let repaired = before.repaired(&ledger.tokens);
    let after = analyze(&repaired, Some(&ledger.wallets), &options);
    assert!(after.changes.is_empty());
    assert_eq!(after.not_changed, before.not_changed);
    assert_eq!(after.stats.problematic_tokens, before.not_changed.len() as u64);
    let delta: i128 = before.balances.values().map(|balance| balance.delta).sum();
    assert_eq!(delta, -before.impact.total_amount_affected);
    for (pair, balance) in &before.balances {
        assert_eq!(after.balances[pair].unspent_before, balance.unspent_after);
        assert_eq!(after.balances[pair].spent_before, balance.spent_after);
    }
    let duplicates = before.finding("duplicate_secrets");
    let classes: u64 = duplicates.classes.iter().map(|(_, count)| count.unwrap()).sum();
    assert_eq!(classes, duplicates.count);
    for code in ["invalid_amounts", "missing_metadata", "duplicate_secrets", "malformed_npub"] {
        assert_eq!(before.finding(code).count, after.finding(code).count, "{code}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn the_repair_ends_the_damage_in_every_ledger(ledger in ledgers()) {
        for spent_at in [SpentAt::Repair, SpentAt::Created, SpentAt::Updated] {
            check(&ledger, spent_at);
        }
    }
}

#[test]
fn random_ledgers_are_repeatable_and_reach_every_finding_and_class() {
    assert_eq!(random_ledger(7), random_ledger(7));
    let mut reached = std::collections::BTreeMap::new();
    for seed in 0..200 {
        let ledger = random_ledger(seed);
        check(&ledger, SpentAt::Created);
        let options = OracleOptions { spent_at: SpentAt::Created, ..OPTIONS };
        let found = analyze(&ledger.tokens, Some(&ledger.wallets), &options);
        for code in CODES {
            let finding = found.finding(code);
            *reached.entry(code).or_insert(0) += finding.count;
            for (class, count) in &finding.classes {
                *reached.entry(class).or_insert(0) += count.unwrap();
            }
        }
        *reached.entry("changes").or_insert(0) += found.impact.tokens_to_migrate;
        for not_changed in &found.not_changed {
            *reached.entry(not_changed.reason).or_insert(0) += 1;
        }
    }
    let unreached: Vec<_> = reached.iter().filter(|&(_, &count)| count < 10).collect();
    assert!(unreached.is_empty(), "rare: {unreached:?} of {reached:?}");
    assert!(reached.contains_key("no_own_time"));
}

/// Both read the same fields, wherever `bson` reads a document at all.
#[test]
fn the_crate_bson_reads_the_same_documents() {
    let mut read = 0;
    for seed in 0..50 {
        let ledger = random_ledger(seed);
        for document in documents(&ledger.tokens) {
            let Ok(decoded) = bson::Document::from_reader(document) else {
                continue;
            };
            read += 1;
            if has_duplicates(document) {
                continue;
            }
            assert_eq!(decoded.to_vec().unwrap(), document);
            let found = analyze(document, None, &OPTIONS);
            let melted = decoded.get_str("transaction_type").is_ok_and(|text| text == "melted");
            let unspent = decoded.get_str("status").is_ok_and(|text| text == "unspent");
            assert_eq!(found.stats.problematic_tokens == 1, melted && unspent);
            assert_eq!(found.stats.total_users == 1, decoded.get_str("npub").is_ok());
        }
    }
    assert!(read > 500, "{read}");
}

/// Whether `bson` merges fields of `document`.
fn has_duplicates(document: &[u8]) -> bool {
    bson::Document::from_reader(document).unwrap().to_vec().unwrap().len() != document.len()
}
