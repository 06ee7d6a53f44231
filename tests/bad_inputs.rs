//! A file that is wrong is an error that says where, and leaves nothing behind; a value that is wrong is
//! a finding.

use crate::support::archive_writer::{archive, crc64, dump_of, gunzip, gzip};
use crate::support::command::{arg, run};
use crate::support::dumps::write_dump;
use crate::support::files::{files_below, names_in};
use crate::support::ledgers::{decimal, decimal_bits, double, int64 as amount64, text};
use crate::support::raw::{
    RawValue, array, bare, deep, document, element, int32, int64, nested, string,
};
use remelt::document::ValueKind;
use remelt::generate::{GenerateOptions, generate_in_memory};
use remelt::sealed::{seal, unseal};
use remelt::snapshot::format::{FORMAT_VERSION, SEAL_KEY, SnapshotManifest};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Stands in every document here and must stand in no message.
const CANARY: &str = "canary-in-a-document";

fn token_with(number: i32, more: &[Vec<u8>]) -> Vec<u8> {
    let proof = nested(&[element("amount", &int32(8)), element("secret", &string(CANARY))]);
    let mut elements = vec![
        element("_id", &int32(number)),
        element("npub", &string(CANARY)),
        element("status", &string("unspent")),
        element("transaction_type", &string("melted")),
        element("total_amount", &int32(8)),
        element("proofs", &array(&[proof])),
    ];
    elements.extend_from_slice(more);
    document(&elements)
}

fn token(number: i32) -> Vec<u8> {
    token_with(number, &[])
}

fn wallet() -> Vec<u8> {
    document(&[element("_id", &int32(1)), element("p2pk_privkey", &string(CANARY))])
}

/// A place for inputs and, apart from them, for a plan.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        fs::create_dir(place.outputs()).unwrap();
        place
    }

    fn inputs(&self) -> PathBuf {
        self.0.path().join("inputs")
    }

    fn outputs(&self) -> PathBuf {
        self.0.path().join("outputs")
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.inputs().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A dump whose tokens' file has these bytes, without metadata beside it.
    fn put_tokens(&self, bytes: &[u8]) -> PathBuf {
        self.put("nctool/cashu_wallets.bson", &wallet());
        self.put("nctool/cashu_tokens.bson", bytes)
    }

    fn plan(&self) -> PathBuf {
        self.outputs().join("plan")
    }

    /// Makes sure that the input is refused with exit 1 and that nothing is left; gives the message.
    fn refuses(&self, input: &Path, options: &[&str], file: &str) -> String {
        let plan = self.plan();
        let arguments = ["analyze", arg(input), arg(&plan)];
        let outcome = run(arguments.iter().chain(options)).exits(1);
        let json = run(arguments.iter().chain(options).chain(&["--json"])).exits(1);
        let (code, message, hint) = json.error();
        assert!(!code.is_empty() && !hint.is_empty(), "{json:#?}");
        assert!(message.contains(file), "{file} is not named: {message}");
        assert_eq!(outcome.stdout, "");
        assert!(outcome.stderr.contains(&format!("error: {message}\n  hint: {hint}\n")));
        for text in [&outcome.stderr, &json.stdout, &json.stderr] {
            assert!(!text.contains(CANARY) && !text.contains("RUST_BACKTRACE"), "{text}");
        }
        assert_eq!(names_in(&self.outputs()), [""; 0], "left behind after: {message}");
        message
    }

    /// The same, and the message must name this byte.
    fn refuses_at(&self, input: &Path, file: &str, byte: usize) -> String {
        let message = self.refuses(input, &[], file);
        assert!(message.contains(&format!("byte {byte}:")), "byte {byte} is not named: {message}");
        message
    }

    /// Makes sure that the input is analysed; gives the report and takes the plan away.
    fn accepts(&self, input: &Path) -> Value {
        let report = run(["analyze", arg(input), arg(&self.plan()), "--json"]).exits(0).json();
        fs::remove_dir_all(self.plan()).unwrap();
        report
    }
}

#[test]
fn every_prefix_of_a_tokens_file_is_refused_except_between_documents() {
    let documents = [token(1), token(2)];
    let whole = documents.concat();
    let place = Place::new();
    for end in 0..whole.len() {
        let path = place.put_tokens(&whole[..end]);
        if end == 0 {
            place.refuses(&place.inputs(), &[], arg(&path));
        } else if end == documents[0].len() {
            // A foreign dump says nowhere how many documents it should have.
            let report = place.accepts(&place.inputs());
            assert_eq!(report["stats"]["totalTokens"], 1);
        } else {
            let start = if end < documents[0].len() { 0 } else { documents[0].len() };
            place.refuses_at(&place.inputs(), arg(&path), start);
        }
    }
    place.put_tokens(&whole);
    assert_eq!(place.accepts(&place.inputs())["stats"]["totalTokens"], 2);
}

#[test]
fn impossible_document_lengths_are_refused_with_the_byte() {
    let place = Place::new();
    let first = token(1);
    for length in [0, 4, -1, i32::MIN, i32::MAX, 16 * 1024 * 1024 + 16 * 1024 + 1] {
        let mut second = token(2);
        second[..4].copy_from_slice(&length.to_le_bytes());
        let path = place.put_tokens(&[first.clone(), second].concat());
        let message = place.refuses_at(&place.inputs(), arg(&path), first.len());
        assert!(message.contains(&length.to_string()), "{message}");
    }
    let path = place.put_tokens(&[first.clone(), vec![0; 3]].concat());
    place.refuses_at(&place.inputs(), arg(&path), first.len());
}

#[test]
fn a_document_that_breaks_the_specification_is_refused_with_the_byte() {
    let place = Place::new();
    let first = token(1);
    let string_of = |length: i32| {
        RawValue::new(ValueKind::String, [&length.to_le_bytes()[..], b"ab\0"].concat())
    };
    let mut unknown = element("odd", &bare(ValueKind::Null));
    unknown[0] = 0x20;
    let overrun = RawValue::new(ValueKind::Document, [&99_i32.to_le_bytes()[..], &[0]].concat());
    let cases = [
        ("unknown BSON type 0x20", unknown),
        ("deeper than 100", element("odd", &deep(ValueKind::Document, 100))),
        ("deeper than 100", element("odd", &deep(ValueKind::Array, 100))),
        ("deeper than 100", element("odd", &deep(ValueKind::Document, 10_000))),
        ("impossible length 0", element("odd", &string_of(0))),
        ("impossible length -1", element("odd", &string_of(-1))),
        ("does not end with its 0 byte", element("odd", &string_of(2))),
        ("boolean with the value 2", element("odd", &RawValue::new(ValueKind::Boolean, [2]))),
        ("runs past the end", element("odd", &overrun)),
    ];
    for (fault, odd) in cases {
        let path = place.put_tokens(&[first.clone(), token_with(2, &[odd])].concat());
        let message = place.refuses_at(&place.inputs(), arg(&path), first.len());
        let is_named = message.contains(fault) || fault.starts_with("does not end");
        assert!(is_named, "{fault}: {message}");
    }
    place.put_tokens(
        &[first.clone(), token_with(2, &[element("odd", &deep(ValueKind::Document, 99))])].concat(),
    );
    assert_eq!(place.accepts(&place.inputs())["stats"]["totalTokens"], 2);

    let mut unended = token(2);
    *unended.last_mut().unwrap() = 1;
    let path = place.put_tokens(&[first.clone(), unended].concat());
    place.refuses_at(&place.inputs(), arg(&path), first.len());

    place.put_tokens(&first);
    let mut broken = wallet();
    broken[4] = 0x20;
    let path = place.put("nctool/cashu_wallets.bson", &broken);
    place.refuses_at(&place.inputs(), arg(&path), 0);
}

#[test]
fn a_document_twice_is_refused() {
    let place = Place::new();
    place.put_tokens(&[token(1), token(2), token(1)].concat());
    let message = place.refuses(&place.inputs(), &[], "cashu_tokens");
    assert!(message.contains("number 0 and 2"), "{message}");
}

#[test]
fn a_cut_or_altered_archive_is_refused() {
    let place = Place::new();
    let whole = archive(&dump_of(&[token(1), token(2)].concat(), &wallet()), 1);
    let path = place.put("whole", &whole);
    let known = place.accepts(&path);
    for end in (0..whole.len()).step_by(13) {
        let path = place.put("cut", &whole[..end]);
        place.refuses(&path, &[], arg(&path));
    }
    // What does not change documents may pass: the head, and check sums that mean nothing yet.
    let mut harmless = 0;
    for at in (0..whole.len()).step_by(11) {
        let mut altered = whole.clone();
        altered[at] ^= 0x41;
        let path = place.put("altered", &altered);
        let probe = run(["analyze", arg(&path), arg(&place.plan()), "--json", "--quiet"]);
        if probe.code == Some(0) {
            assert_eq!(probe.json()["snapshot"], known["snapshot"], "byte {at}");
            fs::remove_dir_all(place.plan()).unwrap();
            harmless += 1;
        } else {
            place.refuses(&path, &[], "");
        }
    }
    assert!(harmless * 4 < whole.len().div_ceil(11), "{harmless} alterations passed");
}

#[test]
fn an_archive_whose_check_sum_is_wrong_is_refused_with_the_collection_and_the_byte() {
    let place = Place::new();
    let tokens = token(1);
    let mut altered = archive(&dump_of(&tokens, &wallet()), 1);
    let sum = crc64(&tokens).to_le_bytes();
    let at = altered.windows(8).position(|window| window == sum).unwrap();
    altered[at] ^= 1;
    let path = place.put("altered", &altered);
    let message = place.refuses(&path, &[], arg(&path));
    assert!(message.contains("byte ") && message.contains("check sum"), "{message}");
    assert!(message.contains("nctool.cashu_tokens"), "{message}");
}

#[test]
fn a_damaged_gzip_stream_is_refused() {
    let place = Place::new();
    let whole = archive(&dump_of(&[token(1), token(2)].concat(), &wallet()), 1);
    let zipped = gzip(&whole);
    assert_eq!(gunzip(&zipped), whole);
    // The trailer: check sum and length.
    for back in 1..=8 {
        let mut altered = zipped.clone();
        let at = altered.len() - back;
        altered[at] ^= 0x10;
        let path = place.put("altered.gz", &altered);
        let message = place.refuses(&path, &[], arg(&path));
        assert!(message.contains("byte ") && message.contains("gzip"), "{message}");
    }
    for end in (2..zipped.len()).step_by(17) {
        let path = place.put("cut.gz", &zipped[..end]);
        place.refuses(&path, &[], arg(&path));
    }
    let path = place.put("more.gz", &[zipped.clone(), b"more".to_vec()].concat());
    place.refuses(&path, &[], arg(&path));

    let directory = place.inputs().join("zipped");
    place.put("zipped/nctool/cashu_wallets.bson.gz", &gzip(&wallet()));
    let mut tokens = gzip(&token(1));
    let at = tokens.len() - 1;
    tokens[at] ^= 1;
    let path = place.put("zipped/nctool/cashu_tokens.bson.gz", &tokens);
    place.refuses(&directory, &[], arg(&path));
}

#[test]
fn a_gzip_bomb_is_stopped_at_its_bound() {
    let place = Place::new();
    let bomb = gzip(&vec![0; 8 << 20]);
    let path = place.put("bomb.gz", &bomb);
    place.refuses(&path, &[], arg(&path));
    // The ratio is judged from 8 MiB on.
    let tokens = gzip(&(0..50_000).flat_map(token).collect::<Vec<u8>>());
    place.put("small/nctool/cashu_wallets.bson", &wallet());
    let path = place.put("small/nctool/cashu_tokens.bson.gz", &tokens);
    let directory = place.inputs().join("small");
    let message = place.refuses(&directory, &["--inflated-bytes-max", "100kb"], arg(&path));
    assert!(message.contains("more than 100000 bytes"), "{message}");
    place.refuses(&directory, &["--inflate-ratio-max", "2"], arg(&path));
}

#[test]
fn empty_and_missing_files_are_refused() {
    let place = Place::new();
    for name in ["empty.bson", "empty.archive", "empty.gz"] {
        let path = place.put(name, b"");
        place.refuses(&path, &[], arg(&path));
    }
    let path = place.inputs().join("no such file");
    place.refuses(&path, &[], arg(&path));
    let path = place.put("text", b"this is no dump at all");
    place.refuses(&path, &[], arg(&path));

    let bare = place.inputs().join("bare");
    fs::create_dir(&bare).unwrap();
    place.refuses(&bare, &[], arg(&bare));
    place.put("bare/nctool/other.bson", &token(1));
    let message = place.refuses(&bare, &[], arg(&bare));
    assert!(message.contains("cashu_tokens") && message.contains("other"), "{message}");
    place.put("bare/nctool/cashu_tokens.bson", &token(1));
    let message = place.refuses(&bare, &[], arg(&bare));
    assert!(message.contains("cashu_wallets"), "{message}");
    place.put("bare/test/cashu_tokens.bson", &token(1));
    let message = place.refuses(&bare, &[], arg(&bare));
    assert!(message.contains("nctool, test"), "{message}");

    let mut dump = dump_of(&token(1), &wallet());
    dump.remove("cashu_wallets");
    let path = place.put("tokens.archive", &archive(&dump, 1));
    let message = place.refuses(&path, &[], arg(&path));
    assert!(message.contains("nctool.cashu_wallets"), "{message}");
    let accepted =
        run(["analyze", arg(&path), arg(&place.plan()), "--json", "--without-wallets"]).exits(0);
    assert_eq!(accepted.json()["findings"]["wallet_mismatch"], Value::Null);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let place = Place::new();
    place.put_tokens(&token(1));
    for option in ["--db", "--tokens", "--wallets"] {
        for name in ["../nctool", "..", ".", "", "/etc/passwd", "a/b", "a\\b"] {
            place.refuses(&place.inputs(), &[option, name], option);
        }
        place.refuses(&place.inputs(), &[option, &"x".repeat(300)], option);
    }
}

#[test]
fn an_archive_whose_database_leads_elsewhere_is_never_written_there() {
    let place = Place::new();
    let dump = dump_of(&token(1), &wallet());
    // The same length, so that every frame stays valid.
    let mut hostile = archive(&dump, 1);
    for name in ["../etc", "/tmp/x", "a/../b"] {
        let known = archive(&dump, 1);
        hostile.clone_from(&known);
        for at in (0..known.len() - 6).filter(|at| &known[*at..at + 7] == b"nctool\0") {
            hostile[at..at + 6].copy_from_slice(name.as_bytes());
        }
        let path = place.put("hostile.archive", &hostile);
        let plan = place.plan();
        let analyzed = run(["analyze", arg(&path), arg(&plan), "--json"]);
        if analyzed.code == Some(0) {
            let out = place.outputs().join("copy");
            let arguments = ["apply", arg(&plan), "--snapshot", arg(&path), "--out", arg(&out)];
            let refused = run(arguments.into_iter().chain(["--confirm", "--yes", "--json"]));
            assert_eq!(refused.exits(1).error().0, "bad_path");
            assert_eq!(names_in(&place.outputs()), ["plan"], "{name}");
            fs::remove_dir_all(&plan).unwrap();
        } else {
            place.refuses(&path, &[], "");
        }
    }
}

#[test]
fn links_and_directories_in_place_of_files_are_refused() {
    let place = Place::new();
    let outside = place.put("elsewhere/tokens", &token(1));
    place.put("linked/nctool/cashu_wallets.bson", &wallet());
    let link = place.inputs().join("linked/nctool/cashu_tokens.bson");
    symlink(&outside, &link).unwrap();
    let message = place.refuses(&place.inputs().join("linked"), &[], arg(&link));
    assert!(message.contains("symbolic link"), "{message}");

    place.put("folder/nctool/cashu_wallets.bson", &wallet());
    let folder = place.inputs().join("folder/nctool/cashu_tokens.bson");
    fs::create_dir(&folder).unwrap();
    let message = place.refuses(&place.inputs().join("folder"), &[], arg(&folder));
    assert!(message.contains("a directory"), "{message}");

    let twice = place.inputs().join("twice");
    place.put("twice/nctool/cashu_wallets.bson", &wallet());
    place.put("twice/nctool/cashu_tokens.bson", &token(1));
    place.put("twice/nctool/cashu_tokens.bson.gz", &gzip(&token(1)));
    let message = place.refuses(&twice, &[], "cashu_tokens.bson.gz");
    assert!(message.contains("same collection twice"), "{message}");
}

/// Our own snapshot of a small ledger, and the plan that belongs to it.
fn own_snapshot(place: &Place) -> (PathBuf, PathBuf) {
    let (tokens, wallets, _) =
        generate_in_memory(&GenerateOptions { tokens: 40, seed: 1, damage: false }).unwrap();
    let dump = place.inputs().join("dump");
    write_dump(&dump, &tokens, Some(&wallets));
    let (plan, own) = (place.inputs().join("plan"), place.inputs().join("own"));
    run(["analyze", arg(&dump), arg(&plan), "--quiet"]).exits(0);
    let arguments = ["apply", arg(&plan), "--snapshot", arg(&dump), "--out", arg(&own)];
    run(arguments.into_iter().chain(["--confirm", "--yes", "--quiet"])).exits(0);
    (own, plan)
}

#[test]
fn any_altered_byte_of_our_own_snapshot_is_detected() {
    let place = Place::new();
    let (own, plan) = own_snapshot(&place);
    place.accepts(&own);
    for name in ["snapshot.json", "nctool/cashu_tokens.bson", "nctool/cashu_wallets.bson"] {
        let path = own.join(name);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(whole.len().div_ceil(40)) {
            let mut altered = whole.clone();
            altered[at] ^= 1 << (at % 8);
            fs::write(&path, &altered).unwrap();
            place.refuses(&own, &[], "");
        }
        let (last, head) = whole.split_last().unwrap();
        fs::write(&path, head).unwrap();
        place.refuses(&own, &[], "");
        fs::write(&path, [head, &[*last, *last]].concat()).unwrap();
        place.refuses(&own, &[], "");

        // What else reads a snapshot must see it as well.
        let mut altered = whole.clone();
        let middle = whole.len() / 2;
        altered[middle] ^= 1;
        fs::write(&path, &altered).unwrap();
        let out = place.outputs().join("restored");
        let arguments = ["rollback", arg(&plan), "--snapshot", arg(&own), "--out", arg(&out)];
        let refused = run(arguments.into_iter().chain(["--confirm", "--yes", "--json"]));
        assert!(matches!(refused.code, Some(1 | 3)), "{refused:#?}");
        refused.error();
        assert_eq!(names_in(&place.outputs()), [""; 0]);
        for arguments in [
            vec!["verify", arg(&plan), "--snapshot", arg(&own), "--json"],
            vec!["diff", arg(&own), arg(&place.inputs().join("dump")), "--json"],
        ] {
            // What `verify` does not read it can't judge.
            if arguments[0] == "verify" && name.contains("wallets") {
                continue;
            }
            let outcome = run(arguments.clone());
            assert_eq!(outcome.code, Some(1), "{name} altered, {arguments:?}: {outcome:#?}");
        }
        fs::write(&path, &whole).unwrap();
    }
    place.accepts(&own);
}

#[test]
fn a_snapshot_that_lost_documents_at_their_boundary_is_detected() {
    let place = Place::new();
    let (own, _) = own_snapshot(&place);
    let path = own.join("nctool/cashu_tokens.bson");
    let whole = fs::read(&path).unwrap();
    let first = usize::try_from(i32::from_le_bytes(*whole.first_chunk().unwrap())).unwrap();
    for shorter in [&whole[..first], &whole[first..], &[]] {
        fs::write(&path, shorter).unwrap();
        let message = place.refuses(&own, &[], "");
        assert!(message.contains("cashu_tokens"), "{message}");
    }
    fs::write(&path, &whole).unwrap();
    fs::remove_file(own.join("nctool/cashu_wallets.bson")).unwrap();
    place.refuses(&own, &[], "cashu_wallets");
}

#[test]
fn a_manifest_that_leads_elsewhere_is_refused_though_its_seal_is_right() {
    let place = Place::new();
    let (own, _) = own_snapshot(&place);
    let text = fs::read(own.join("snapshot.json")).unwrap();
    let (known, _) = unseal::<SnapshotManifest>(&text, SEAL_KEY, FORMAT_VERSION).unwrap();
    let put = |manifest: &SnapshotManifest| {
        let (text, _) = seal(manifest, SEAL_KEY).unwrap();
        fs::write(own.join("snapshot.json"), text).unwrap();
    };
    put(&known);
    place.accepts(&own);
    for name in ["../nctool", "..", "/tmp", "", "none such"] {
        put(&SnapshotManifest { db: name.to_owned(), ..known.clone() });
        place.refuses(&own, &[], "");
    }
    put(&SnapshotManifest { format_version: FORMAT_VERSION + 1, ..known.clone() });
    place.refuses(&own, &[], "snapshot.json");
    let mut short = known.clone();
    short.collections[0].chunks[0].documents -= 1;
    put(&short);
    let message = place.refuses(&own, &[], "snapshot.json");
    assert!(message.contains("contradicts itself"), "{message}");
}

#[test]
fn strange_values_are_findings_and_the_rest_goes_on() {
    let amounts = [
        double(f64::NAN),
        double(f64::INFINITY),
        double(f64::NEG_INFINITY),
        double(8.5),
        double(1e300),
        amount64(i64::MIN),
        amount64(-1),
        decimal("NaN"),
        decimal("1.5"),
        decimal("9223372036854775808"),
        text("8"),
        (0x0a, Vec::new()),
    ];
    let odd_but_amounts =
        [double(-0.0), amount64(i64::MAX), amount64(i64::MAX), decimal("8.0"), decimal_bits(0)];
    let invalid = amounts.len();
    let mut tokens = Vec::new();
    for (number, amount) in (0..).zip(amounts.into_iter().chain(odd_but_amounts)) {
        let value = [&[amount.0][..], b"total_amount\0", &amount.1].concat();
        tokens.extend(document(&[
            element("_id", &int32(number)),
            element("npub", &string(b"\xff\xfe not UTF-8")),
            element("status", &string("unspent")),
            element("transaction_type", &string("melted")),
            element("proofs", &array(&[nested(&[]), int64(1), string("proof")])),
            element("metadata", &nested(&[element("$set", &bare(ValueKind::MinKey))])),
            value,
        ]));
    }
    let place = Place::new();
    place.put_tokens(&tokens);
    let report = place.accepts(&place.inputs());
    let count = invalid + 5;
    let findings = &report["findings"];
    assert_eq!(findings["invalid_amounts"]["count"], invalid);
    for code in ["inconsistent_status", "missing_metadata", "malformed_npub", "orphaned_tokens"] {
        assert_eq!(findings[code]["count"], count, "{code}");
    }
    assert_eq!(report["impact"]["tokensToMigrate"], count);
    // Beyond 2^53 an amount is text, and beyond i64 it is still exact.
    let sum = i128::from(i64::MAX) * 2 + 8 + i128::from(i64::MIN) - 1;
    assert_eq!(report["impact"]["totalAmountAffected"], sum.to_string());
    assert_eq!(files_below(&place.outputs()).len(), 0);
}

#[test]
fn an_amount_is_a_double_up_to_2_to_53_and_a_finding_beyond() {
    const EDGE: f64 = 9_007_199_254_740_992.0;
    let invalid = |amount: f64| {
        let (_, bytes) = double(amount);
        let total = [&[0x01][..], b"total_amount\0", &bytes].concat();
        let place = Place::new();
        place.put_tokens(&document(&[element("_id", &int32(1)), total]));
        place.accepts(&place.inputs())["findings"]["invalid_amounts"]["count"].as_u64().unwrap()
    };
    assert_eq!([EDGE, 9_007_199_254_740_991.0].map(invalid), [0, 0]);
    assert_eq!([9_007_199_254_740_994.0, -EDGE, 1e18, 5e-324].map(invalid), [1; 4]);
}
