//! The slow oracle: everything that `docs/findings.md` defines, by plain loops over whole collections in memory.
//!
//! It follows that page and nothing else. It uses nothing of the library, prefers clarity to speed, and
//! panics on broken framing: its input must be concatenated, well framed BSON documents.
//! Where the page leaves a case open, a comment that begins with `Open:` says what is done here.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::type_complexity,
    clippy::float_arithmetic,
    clippy::cast_possible_truncation
)]

use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Every code, in the order of reports.
pub(crate) const CODES: [&str; 15] = [
    "inconsistent_status",
    "duplicate_secrets",
    "orphaned_tokens",
    "invalid_amounts",
    "missing_metadata",
    "negative_balance",
    "amount_mismatch",
    "double_counted",
    "spent_at_mismatch",
    "unknown_status",
    "duplicate_transaction_id",
    "wallet_mismatch",
    "duplicate_field",
    "malformed_npub",
    "missing_change",
];

const DOCUMENT_BYTES_AFTER_MAX: usize = 16_777_216;

/// Most bytes of the values that undoing needs.
const UNDONE_BYTES_MAX: usize = 14_680_064;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpentAt {
    Repair,
    Created,
    Updated,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct OracleOptions {
    pub(crate) repair_time_ms: i64,
    pub(crate) spent_at: SpentAt,
}

/// A value as it is stored: type byte and bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Raw {
    pub(crate) kind: u8,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stats {
    pub(crate) total_tokens: u64,
    pub(crate) total_melted_tokens: u64,
    pub(crate) problematic_tokens: u64,
    pub(crate) spent_melted_tokens: u64,
    pub(crate) total_users: u64,
    pub(crate) total_wallets: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Impact {
    pub(crate) tokens_to_migrate: u64,
    pub(crate) total_amount_affected: i128,
    pub(crate) affected_users: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) count: u64,
    /// Only for the codes whose definition names an amount.
    pub(crate) amount: Option<i128>,
    pub(crate) affected_users: u64,
    /// `None` for a class that can't be decided.
    pub(crate) classes: Vec<(&'static str, Option<u64>)>,
    /// Indexes of the documents concerned.
    pub(crate) documents: BTreeSet<usize>,
}

/// Sums of one user at one mint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) tokens_fixed: u64,
    pub(crate) unspent_before: i128,
    pub(crate) unspent_after: i128,
    pub(crate) pending: i128,
    pub(crate) spent_before: i128,
    pub(crate) spent_after: i128,
    pub(crate) failed: i128,
    /// `unspent_after` − `unspent_before`.
    pub(crate) delta: i128,
}

/// One field before and after; `None` where it is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldChange {
    pub(crate) before: Option<Raw>,
    pub(crate) after: Option<Raw>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// Which document of the collection, from 0.
    pub(crate) index: usize,
    pub(crate) id: Option<Raw>,
    pub(crate) status: FieldChange,
    pub(crate) spent_at: FieldChange,
    pub(crate) updated_at: FieldChange,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotChanged {
    pub(crate) index: usize,
    pub(crate) id: Option<Raw>,
    pub(crate) reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Oracle {
    pub(crate) stats: Stats,
    pub(crate) impact: Impact,
    /// Every code of [`CODES`]; `None` for one that can't be decided.
    pub(crate) findings: BTreeMap<&'static str, Option<Finding>>,
    /// By (npub, mint), each the bytes of the text, empty when it is not text.
    pub(crate) balances: BTreeMap<(Vec<u8>, Vec<u8>), Balance>,
    pub(crate) changes: Vec<Change>,
    pub(crate) not_changed: Vec<NotChanged>,
}

// ---------------------------------------------------------------------------------------------
// Reading bytes.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Value<'a> {
    kind: u8,
    bytes: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
struct Element<'a> {
    name: &'a [u8],
    value: Value<'a>,
    /// Where the type byte stands in the document.
    start: usize,
    /// Where the next element begins.
    end: usize,
}

fn i32_at(bytes: &[u8], at: usize) -> usize {
    let number = i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    usize::try_from(number).unwrap()
}

fn cstring_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte == 0).unwrap() + 1
}

/// How many bytes the value of type `kind` at the start of `rest` takes: <https://bsonspec.org/spec.html>.
fn value_length(kind: u8, rest: &[u8]) -> usize {
    match kind {
        0x06 | 0x0A | 0x7F | 0xFF => 0, // undefined, null, max key, min key
        0x08 => 1,                      // boolean
        0x10 => 4,                      // int32
        0x01 | 0x09 | 0x11 | 0x12 => 8, // double, date, timestamp, int64
        0x07 => 12,                     // object id
        0x13 => 16,                     // decimal128
        0x02 | 0x0D | 0x0E => 4 + i32_at(rest, 0), // string, code, symbol
        0x03 | 0x04 | 0x0F => i32_at(rest, 0), // document, array, code with scope
        0x05 => 4 + 1 + i32_at(rest, 0), // binary
        0x0C => 4 + i32_at(rest, 0) + 12, // db pointer
        0x0B => {
            let pattern = cstring_length(rest);
            pattern + cstring_length(&rest[pattern..])
        }
        other => panic!("no BSON type {other:#04x}"),
    }
}

fn elements(document: &[u8]) -> Vec<Element<'_>> {
    assert_eq!(i32_at(document, 0), document.len());
    assert_eq!(document.last(), Some(&0));
    let mut all = Vec::new();
    let mut start = 4;
    while start < document.len() - 1 {
        let kind = document[start];
        let name_start = start + 1;
        let value_start = name_start + cstring_length(&document[name_start..]);
        let end = value_start + value_length(kind, &document[value_start..]);
        all.push(Element {
            name: &document[name_start..value_start - 1],
            value: Value { kind, bytes: &document[value_start..end] },
            start,
            end,
        });
        start = end;
    }
    assert_eq!(start, document.len() - 1);
    all
}

/// The documents of a collection.
pub(crate) fn documents(collection: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    let mut rest = collection;
    while !rest.is_empty() {
        let (document, after) = rest.split_at(i32_at(rest, 0));
        all.push(document);
        rest = after;
    }
    all
}

/// The field at its first occurrence.
fn field<'a>(document: &'a [u8], name: &str) -> Option<Value<'a>> {
    elements(document)
        .into_iter()
        .find(|element| element.name == name.as_bytes())
        .map(|element| element.value)
}

fn occurrences(document: &[u8], name: &str) -> usize {
    elements(document).into_iter().filter(|element| element.name == name.as_bytes()).count()
}

impl<'a> Value<'a> {
    fn text(self) -> Option<&'a [u8]> {
        (self.kind == 0x02).then(|| &self.bytes[4..self.bytes.len() - 1])
    }

    fn document(self) -> Option<&'a [u8]> {
        (self.kind == 0x03).then_some(self.bytes)
    }

    fn is_null(self) -> bool {
        self.kind == 0x0A
    }

    fn is_date(self) -> bool {
        self.kind == 0x09
    }

    fn amount(self) -> Option<i128> {
        let bytes = self.bytes;
        match self.kind {
            0x10 => Some(i32::from_le_bytes(bytes.try_into().unwrap()).into()),
            0x12 => Some(i64::from_le_bytes(bytes.try_into().unwrap()).into()),
            0x01 => double_amount(f64::from_le_bytes(bytes.try_into().unwrap())),
            0x13 => decimal_amount(u128::from_le_bytes(bytes.try_into().unwrap())),
            _ => None,
        }
    }

    fn raw(self) -> Raw {
        Raw { kind: self.kind, bytes: self.bytes.to_vec() }
    }
}

fn double_amount(double: f64) -> Option<i128> {
    let limit = 9_007_199_254_740_992.0;
    if double.is_finite() && double.fract() == 0.0 && (-limit..=limit).contains(&double) {
        Some(double as i128)
    } else {
        None
    }
}

/// IEEE 754-2008 decimal128, binary integer encoding.
fn decimal_amount(bits: u128) -> Option<i128> {
    let negative = bits >> 127 == 1;
    if (bits >> 123) & 0b1111 == 0b1111 {
        return None; // infinite or not a number
    }
    // Open: a coefficient above 34 digits is not canonical; the standard and the server take it as 0.
    if (bits >> 125) & 0b11 == 0b11 {
        return Some(0);
    }
    let mut exponent = i32::try_from((bits >> 113) & 0x3FFF).unwrap() - 6176;
    let mut number = i128::try_from(bits & ((1 << 113) - 1)).unwrap();
    if number == 0 || number >= 10_i128.pow(34) {
        return Some(0);
    }
    while exponent < 0 {
        if number % 10 != 0 {
            return None;
        }
        number /= 10;
        exponent += 1;
    }
    while exponent > 0 {
        number *= 10;
        exponent -= 1;
        if number > 10_i128.pow(20) {
            return None;
        }
    }
    let number = if negative { -number } else { number };
    (i128::from(i64::MIN)..=i128::from(i64::MAX)).contains(&number).then_some(number)
}

/// Lower-case bech32 with the prefix `npub` and a valid checksum (BIP 173).
///
/// Open: only what the page says; the payload need not be 32 bytes.
pub(crate) fn is_npub(text: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let Some(data) = text.strip_prefix(b"npub1") else {
        return false;
    };
    // BIP 173: six characters of checksum, at most 90 characters in all.
    if data.len() < 6 || text.len() > 90 {
        return false;
    }
    let mut values: Vec<u32> = Vec::new();
    for byte in b"npub" {
        values.push(u32::from(byte >> 5));
    }
    values.push(0);
    for byte in b"npub" {
        values.push(u32::from(byte & 31));
    }
    for character in data {
        match ALPHABET.iter().position(|a| a == character) {
            Some(position) => values.push(u32::try_from(position).unwrap()),
            None => return false,
        }
    }
    let mut checksum: u32 = 1;
    for value in values {
        let top = checksum >> 25;
        checksum = ((checksum & 0x1ff_ffff) << 5) ^ value;
        for (bit, generator) in GENERATOR.iter().enumerate() {
            if (top >> bit) & 1 == 1 {
                checksum ^= generator;
            }
        }
    }
    checksum == 1
}

// ---------------------------------------------------------------------------------------------
// One token document, read once.

struct Proof {
    secret: Option<Vec<u8>>,
    amount: i128,
}

struct Token<'a> {
    bytes: &'a [u8],
    /// `npub` when it is text.
    user: Option<&'a [u8]>,
    status: Option<&'a [u8]>,
    transaction_type: Option<&'a [u8]>,
    /// `None` when it is not an amount.
    total_amount: Option<i128>,
    proofs: Vec<Proof>,
    metadata: Option<&'a [u8]>,
}

impl<'a> Token<'a> {
    fn read(bytes: &'a [u8]) -> Token<'a> {
        Token {
            bytes,
            user: field(bytes, "npub").and_then(Value::text),
            status: field(bytes, "status").and_then(Value::text),
            transaction_type: field(bytes, "transaction_type").and_then(Value::text),
            total_amount: field(bytes, "total_amount").and_then(Value::amount),
            proofs: read_proofs(bytes),
            metadata: field(bytes, "metadata").and_then(Value::document),
        }
    }

    fn status_is(&self, word: &str) -> bool {
        self.status == Some(word.as_bytes())
    }

    fn type_is(&self, word: &str) -> bool {
        self.transaction_type == Some(word.as_bytes())
    }

    fn is_spendable(&self) -> bool {
        self.status_is("unspent") || self.status_is("pending")
    }

    fn is_gone(&self) -> bool {
        self.status_is("spent") || self.type_is("melted")
    }

    fn is_problematic(&self) -> bool {
        self.type_is("melted") && self.status_is("unspent")
    }

    /// In sums.
    fn counted(&self) -> i128 {
        self.total_amount.unwrap_or(0)
    }

    fn metadata_field(&self, name: &str) -> Option<Value<'a>> {
        field(self.metadata?, name)
    }

    fn mint_name(&self) -> Vec<u8> {
        // Open: a `mint_url` that is not text goes under an empty name, as an `npub` does.
        let mint = field(self.bytes, "mint_url").and_then(Value::text);
        mint.unwrap_or_default().to_vec()
    }
}

fn read_proofs(bytes: &[u8]) -> Vec<Proof> {
    let mut proofs = Vec::new();
    let Some(array) = field(bytes, "proofs").filter(|value| value.kind == 0x04) else {
        return proofs;
    };
    for entry in elements(array.bytes) {
        let Some(proof) = entry.value.document() else {
            continue;
        };
        let secret = field(proof, "secret").and_then(Value::text);
        let amount = field(proof, "amount").and_then(Value::amount);
        proofs.push(Proof {
            secret: secret.filter(|text| !text.is_empty()).map(<[u8]>::to_vec),
            amount: amount.unwrap_or(0),
        });
    }
    proofs
}

// ---------------------------------------------------------------------------------------------
// The analysis.

/// Everything that `docs/findings.md` defines, of the token collection `tokens`.
pub(crate) fn analyze(tokens: &[u8], wallets: Option<&[u8]>, options: &OracleOptions) -> Oracle {
    let tokens: Vec<Token<'_>> = documents(tokens).into_iter().map(Token::read).collect();
    let wallets = wallets.map(documents);

    let (changes, not_changed) = apply_rule(&tokens, options);
    let changed: BTreeSet<usize> = changes.iter().map(|change| change.index).collect();
    let amount_affected = changed.iter().map(|&index| tokens[index].counted()).sum();

    let mut findings = BTreeMap::new();
    findings.insert("inconsistent_status", Some(inconsistent_status(&tokens)));
    findings.insert("orphaned_tokens", Some(orphaned(&tokens, wallets.as_deref())));
    findings.insert("wallet_mismatch", wallets.as_deref().map(|w| mismatch(&tokens, w)));
    findings.insert("negative_balance", Some(negative_balance(&tokens)));
    findings.insert("amount_mismatch", Some(amount_mismatch(&tokens)));
    findings.insert("duplicate_transaction_id", Some(duplicate_ids(&tokens)));
    findings.insert("missing_change", Some(missing_change(&tokens)));
    let (duplicate_secrets, double_counted) = secrets(&tokens);
    findings.insert("duplicate_secrets", Some(duplicate_secrets));
    findings.insert("double_counted", Some(double_counted));
    let simple: [(&'static str, fn(&Token<'_>) -> bool); 6] = [
        ("invalid_amounts", has_invalid_amount),
        ("missing_metadata", lacks_metadata),
        ("spent_at_mismatch", has_spent_at_mismatch),
        ("unknown_status", has_unknown_word),
        ("duplicate_field", has_duplicate_field),
        ("malformed_npub", has_malformed_npub),
    ];
    for (code, applies) in simple {
        findings.insert(code, Some(each_document(&tokens, applies)));
    }

    let count = |applies: &dyn Fn(&Token<'_>) -> bool| {
        u64::try_from(tokens.iter().filter(|token| applies(token)).count()).unwrap()
    };
    let everyone: BTreeSet<usize> = (0..tokens.len()).collect();
    Oracle {
        stats: Stats {
            total_tokens: count(&|_| true),
            total_melted_tokens: count(&|token| token.type_is("melted")),
            problematic_tokens: count(&|token| token.is_problematic()),
            spent_melted_tokens: count(&|t| t.type_is("melted") && t.status_is("spent")),
            total_users: users_of(&tokens, &everyone),
            // Open: 0 without wallets.
            total_wallets: wallets.map_or(0, |all| u64::try_from(all.len()).unwrap()),
        },
        impact: Impact {
            tokens_to_migrate: u64::try_from(changes.len()).unwrap(),
            total_amount_affected: amount_affected,
            affected_users: users_of(&tokens, &changed),
        },
        findings,
        balances: balances(&tokens, &changed),
        changes,
        not_changed,
    }
}

/// How many distinct users have one of the documents `indexes`.
fn users_of(tokens: &[Token<'_>], indexes: &BTreeSet<usize>) -> u64 {
    let users: BTreeSet<&[u8]> = indexes.iter().filter_map(|&i| tokens[i].user).collect();
    u64::try_from(users.len()).unwrap()
}

/// A finding of `count` things that concern `documents`.
fn finding(tokens: &[Token<'_>], count: usize, documents: BTreeSet<usize>) -> Finding {
    Finding {
        count: u64::try_from(count).unwrap(),
        amount: None,
        affected_users: users_of(tokens, &documents),
        classes: Vec::new(),
        documents,
    }
}

/// A finding counted once a document.
fn each_document(tokens: &[Token<'_>], applies: impl Fn(&Token<'_>) -> bool) -> Finding {
    let mut documents = BTreeSet::new();
    for (index, token) in tokens.iter().enumerate() {
        if applies(token) {
            documents.insert(index);
        }
    }
    finding(tokens, documents.len(), documents)
}

fn inconsistent_status(tokens: &[Token<'_>]) -> Finding {
    let mut found = each_document(tokens, |token| token.is_problematic());
    found.amount = Some(found.documents.iter().map(|&i| tokens[i].counted()).sum());
    found
}

fn has_invalid_amount(token: &Token<'_>) -> bool {
    match token.total_amount {
        None => true,
        Some(amount) => amount < 0,
    }
}

fn lacks_metadata(token: &Token<'_>) -> bool {
    match token.metadata_field("source") {
        None => true,
        Some(source) => source.is_null(),
    }
}

fn has_spent_at_mismatch(token: &Token<'_>) -> bool {
    let has_date = field(token.bytes, "spent_at").is_some_and(Value::is_date);
    token.status_is("spent") != has_date
}

fn has_unknown_word(token: &Token<'_>) -> bool {
    let known_status =
        ["unspent", "spent", "pending", "failed"].iter().any(|word| token.status_is(word));
    let known_type =
        ["received", "sent", "minted", "melted", "change"].iter().any(|word| token.type_is(word));
    !known_status || !known_type
}

fn has_duplicate_field(token: &Token<'_>) -> bool {
    ["status", "spent_at", "updatedAt"].iter().any(|name| occurrences(token.bytes, name) > 1)
}

fn has_malformed_npub(token: &Token<'_>) -> bool {
    !token.user.is_some_and(is_npub)
}

fn wallet_id<'a>(token: &Token<'a>) -> Option<Value<'a>> {
    field(token.bytes, "wallet_id").filter(|id| !id.is_null())
}

/// The first wallet with that `_id`.
///
/// Open: several wallets with one `_id` can't be in MongoDB, but in a file; the first one is meant. And a
/// `wallet_id` that is null is missing even if a wallet's `_id` is null.
fn wallet_of<'a>(token: &Token<'_>, wallets: &[&'a [u8]]) -> Option<&'a [u8]> {
    let id = wallet_id(token)?;
    wallets.iter().copied().find(|wallet| field(wallet, "_id") == Some(id))
}

fn orphaned(tokens: &[Token<'_>], wallets: Option<&[&[u8]]>) -> Finding {
    let missing = each_document(tokens, |token| wallet_id(token).is_none());
    let dangling = wallets.map(|wallets| {
        each_document(tokens, |token| {
            wallet_id(token).is_some() && wallet_of(token, wallets).is_none()
        })
    });
    let mut documents = missing.documents;
    if let Some(dangling) = &dangling {
        documents.extend(&dangling.documents);
    }
    let mut found = finding(tokens, documents.len(), documents);
    found.classes = vec![
        ("missing_wallet_id", Some(missing.count)),
        ("dangling_wallet_id", dangling.map(|dangling| dangling.count)),
    ];
    found
}

fn mismatch(tokens: &[Token<'_>], wallets: &[&[u8]]) -> Finding {
    each_document(tokens, |token| match wallet_of(token, wallets) {
        None => false,
        // Open: values are compared by type and bytes, so that null differs from absent too.
        Some(wallet) => {
            ["npub", "mint_url"].iter().any(|name| field(token.bytes, name) != field(wallet, name))
        }
    })
}

fn amount_mismatch(tokens: &[Token<'_>]) -> Finding {
    let difference = |token: &Token<'_>| -> i128 {
        let Some(total) = token.total_amount.filter(|&total| total >= 0) else {
            return 0;
        };
        if token.status_is("pending") && token.proofs.is_empty() {
            return 0;
        }
        let sum: i128 = token.proofs.iter().map(|proof| proof.amount).sum();
        (total - sum).abs()
    };
    let mut found = each_document(tokens, |token| difference(token) != 0);
    found.amount = Some(tokens.iter().map(difference).sum());
    found
}

fn missing_change(tokens: &[Token<'_>]) -> Finding {
    let excess = |token: &Token<'_>| -> i128 {
        if !token.type_is("melted") {
            return 0;
        }
        let cost = token.metadata_field("total_amount").and_then(Value::amount);
        let (Some(total), Some(cost)) = (token.total_amount, cost) else {
            return 0;
        };
        if total <= cost {
            return 0;
        }
        let id = field(token.bytes, "transaction_id").and_then(Value::text);
        let has_change = id.is_some()
            && tokens.iter().any(|other| {
                let melt = other.metadata_field("melt_transaction_id");
                other.type_is("change") && melt.and_then(Value::text) == id
            });
        if has_change { 0 } else { total - cost }
    };
    let mut found = each_document(tokens, |token| excess(token) != 0);
    found.amount = Some(tokens.iter().map(excess).sum());
    found
}

fn duplicate_ids(tokens: &[Token<'_>]) -> Finding {
    let mut by_id: BTreeMap<Raw, BTreeSet<usize>> = BTreeMap::new();
    for (index, token) in tokens.iter().enumerate() {
        if let Some(id) = field(token.bytes, "transaction_id").filter(|id| !id.is_null()) {
            by_id.entry(id.raw()).or_default().insert(index);
        }
    }
    by_id.retain(|_, documents| documents.len() > 1);
    let concerned = by_id.values().flatten().copied().collect();
    finding(tokens, by_id.len(), concerned)
}

/// One proof of a secret: its document and its amount.
#[derive(Clone, Copy)]
struct Copy {
    document: usize,
    amount: i128,
}

/// `duplicate_secrets` and `double_counted`.
fn secrets(tokens: &[Token<'_>]) -> (Finding, Finding) {
    let mut by_secret: BTreeMap<&[u8], Vec<Copy>> = BTreeMap::new();
    for (document, token) in tokens.iter().enumerate() {
        for proof in &token.proofs {
            if let Some(secret) = &proof.secret {
                let amount = proof.amount;
                by_secret.entry(secret).or_default().push(Copy { document, amount });
            }
        }
    }
    let (mut benign_copy, mut double_counted, mut cross_user) = (0, 0, 0);
    let mut duplicate_documents = BTreeSet::new();
    let mut double_documents = BTreeSet::new();
    let mut phantom_amount = 0;
    for copies in by_secret.values().filter(|copies| copies.len() > 1) {
        let documents: BTreeSet<usize> = copies.iter().map(|copy| copy.document).collect();
        // Open: documents without a user are all taken as of one npub, none, unlike any text.
        let npubs: BTreeSet<Option<&[u8]>> = documents.iter().map(|&i| tokens[i].user).collect();
        duplicate_documents.extend(&documents);
        if let Some(amount) = phantom(tokens, copies) {
            double_counted += 1;
            phantom_amount += amount;
            // Open: concerned are all documents with the secret, also those without a phantom proof.
            double_documents.extend(&documents);
        } else if npubs.len() > 1 {
            cross_user += 1;
        } else {
            benign_copy += 1;
        }
    }
    let count = benign_copy + double_counted + cross_user;
    let mut duplicates = finding(tokens, count, duplicate_documents);
    for (class, count) in [
        ("benign_copy", benign_copy),
        ("double_counted", double_counted),
        ("cross_user", cross_user),
    ] {
        let count = u64::try_from(count).unwrap();
        duplicates.classes.push((class, Some(count)));
    }
    let mut doubles = finding(tokens, double_counted, double_documents);
    doubles.amount = Some(phantom_amount);
    (duplicates, doubles)
}

/// The sum of the phantom proofs of a secret with these `copies`; `None` when it is not double counted.
fn phantom(tokens: &[Token<'_>], copies: &[Copy]) -> Option<i128> {
    let mut spendable = Vec::new();
    let mut gone = Vec::new();
    for &copy in copies {
        // A melted document that is unspent is both.
        if tokens[copy.document].is_spendable() {
            spendable.push(copy);
        }
        if tokens[copy.document].is_gone() {
            gone.push(copy);
        }
    }
    let sum: i128 = spendable.iter().map(|copy| copy.amount).sum();
    for one in &spendable {
        for other in &gone {
            if one.document != other.document {
                return Some(sum);
            }
        }
    }
    if spendable.len() < 2 {
        return None;
    }
    let largest = spendable.iter().map(|copy| copy.amount).max().unwrap();
    Some(sum - largest)
}

fn negative_balance(tokens: &[Token<'_>]) -> Finding {
    let mut sums: BTreeMap<(&[u8], Vec<u8>), BTreeMap<&str, i128>> = BTreeMap::new();
    let mut members: BTreeMap<(&[u8], Vec<u8>), BTreeSet<usize>> = BTreeMap::new();
    for (index, token) in tokens.iter().enumerate() {
        // Open: documents of no user have a balance, but are no "user and mint".
        let Some(user) = token.user else { continue };
        let pair = (user, token.mint_name());
        members.entry(pair.clone()).or_default().insert(index);
        for status in ["unspent", "pending", "spent", "failed"] {
            if token.status_is(status) {
                let by_status = sums.entry(pair.clone()).or_default();
                *by_status.entry(status).or_default() += token.counted();
            }
        }
    }
    let mut count = 0;
    let mut amount = 0;
    let mut concerned = BTreeSet::new();
    for (pair, by_status) in &sums {
        let below: i128 = by_status.values().filter(|&&sum| sum < 0).sum();
        if below < 0 {
            count += 1;
            amount += below;
            concerned.extend(&members[pair]);
        }
    }
    let mut found = finding(tokens, count, concerned);
    found.amount = Some(amount);
    found
}

fn balances(
    tokens: &[Token<'_>],
    changed: &BTreeSet<usize>,
) -> BTreeMap<(Vec<u8>, Vec<u8>), Balance> {
    let mut all: BTreeMap<(Vec<u8>, Vec<u8>), Balance> = BTreeMap::new();
    for (index, token) in tokens.iter().enumerate() {
        // Open: an `npub` that is the empty text shares the row of those that are not text.
        let npub = token.user.unwrap_or_default().to_vec();
        let balance = all.entry((npub, token.mint_name())).or_default();
        let amount = token.counted();
        if token.status_is("unspent") {
            balance.unspent_before += amount;
            if changed.contains(&index) {
                balance.tokens_fixed += 1;
                balance.spent_after += amount;
            } else {
                balance.unspent_after += amount;
            }
        } else if token.status_is("pending") {
            balance.pending += amount;
        } else if token.status_is("spent") {
            balance.spent_before += amount;
            balance.spent_after += amount;
        } else if token.status_is("failed") {
            balance.failed += amount;
        }
    }
    for balance in all.values_mut() {
        balance.delta = balance.unspent_after - balance.unspent_before;
    }
    all
}

// ---------------------------------------------------------------------------------------------
// The rule.

fn apply_rule(tokens: &[Token<'_>], options: &OracleOptions) -> (Vec<Change>, Vec<NotChanged>) {
    let mut changes = Vec::new();
    let mut not_changed = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        if !token.is_problematic() {
            continue;
        }
        let id = field(token.bytes, "_id").map(Value::raw);
        match change_of(index, token, options) {
            Ok(change) => changes.push(change),
            Err(reason) => not_changed.push(NotChanged { index, id, reason }),
        }
    }
    (changes, not_changed)
}

/// Open: when several reasons hold, the first in the page's order is given.
fn change_of(
    index: usize,
    token: &Token<'_>,
    options: &OracleOptions,
) -> Result<Change, &'static str> {
    if has_duplicate_field(token) {
        return Err("duplicate_field");
    }
    let repair_time = Raw { kind: 0x09, bytes: options.repair_time_ms.to_le_bytes().to_vec() };
    let own_time = |name| {
        let value = field(token.bytes, name).filter(|value| value.is_date());
        value.map(Value::raw)
    };
    let time = match options.spent_at {
        SpentAt::Repair => Some(repair_time.clone()),
        SpentAt::Created => own_time("createdAt"),
        SpentAt::Updated => own_time("updatedAt"),
    };
    let before = |name| field(token.bytes, name).map(Value::raw);
    let mut change = Change {
        index,
        id: before("_id"),
        status: FieldChange {
            before: before("status"),
            after: Some(Raw { kind: 0x02, bytes: b"\x06\0\0\0spent\0".to_vec() }),
        },
        spent_at: FieldChange {
            before: before("spent_at"),
            // Every date is as long as every other, so the room needed is known without the right one.
            after: Some(repair_time.clone()),
        },
        updated_at: FieldChange {
            before: before("updatedAt"),
            after: before("updatedAt").map(|_| repair_time),
        },
    };
    let undone = [&change.id, &change.spent_at.before, &change.updated_at.before];
    let undone_bytes: usize = undone.into_iter().flatten().map(|value| value.bytes.len()).sum();
    if repaired_document(token.bytes, &change).len() > DOCUMENT_BYTES_AFTER_MAX
        || undone_bytes > UNDONE_BYTES_MAX
    {
        return Err("no_room");
    }
    change.spent_at.after = Some(time.ok_or("no_own_time")?);
    Ok(change)
}

/// `document` with each changed field replaced where it stands, or appended.
fn repaired_document(document: &[u8], change: &Change) -> Vec<u8> {
    let fields = [
        ("status", &change.status),
        ("spent_at", &change.spent_at),
        ("updatedAt", &change.updated_at),
    ];
    let push = |body: &mut Vec<u8>, name: &str, value: &Raw| {
        body.push(value.kind);
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(&value.bytes);
    };
    let mut body = Vec::new();
    for element in elements(document) {
        let changed = fields.iter().find(|(name, _)| name.as_bytes() == element.name);
        match changed {
            Some((name, change)) => push(&mut body, name, change.after.as_ref().unwrap()),
            None => body.extend_from_slice(&document[element.start..element.end]),
        }
    }
    for (name, change) in fields {
        if let (None, Some(after)) = (&change.before, &change.after) {
            push(&mut body, name, after);
        }
    }
    let length = i32::try_from(4 + body.len() + 1).unwrap();
    let mut repaired = length.to_le_bytes().to_vec();
    repaired.extend(body);
    repaired.push(0);
    repaired
}

impl Oracle {
    /// The bytes of the collection after the repair; `tokens` are those that were analysed.
    pub(crate) fn repaired(&self, tokens: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        for (index, document) in documents(tokens).into_iter().enumerate() {
            match self.changes.iter().find(|change| change.index == index) {
                Some(change) => all.extend(repaired_document(document, change)),
                None => all.extend_from_slice(document),
            }
        }
        all
    }

    /// The finding `code`, which must be decided.
    pub(crate) fn finding(&self, code: &str) -> &Finding {
        self.findings[code].as_ref().unwrap()
    }

    /// `stats`, `impact` and `findings` as `remelt analyze --json` names them.
    pub(crate) fn to_json(&self) -> Json {
        let mut findings = Map::new();
        for code in CODES {
            let json = self.findings[code].as_ref().map_or(Json::Null, finding_json);
            findings.insert(code.to_owned(), json);
        }
        json!({
            "stats": {
                "totalTokens": self.stats.total_tokens,
                "totalMeltedTokens": self.stats.total_melted_tokens,
                "problematicTokens": self.stats.problematic_tokens,
                "spentMeltedTokens": self.stats.spent_melted_tokens,
                "totalUsers": self.stats.total_users,
                "totalWallets": self.stats.total_wallets,
            },
            "impact": {
                "tokensToMigrate": self.impact.tokens_to_migrate,
                "totalAmountAffected": amount_json(self.impact.total_amount_affected),
                "affectedUsers": self.impact.affected_users,
            },
            "findings": findings,
        })
    }
}

fn finding_json(finding: &Finding) -> Json {
    let mut json = Map::new();
    json.insert("count".to_owned(), json!(finding.count));
    if let Some(amount) = finding.amount {
        json.insert("amount".to_owned(), amount_json(amount));
    }
    json.insert("affectedUsers".to_owned(), json!(finding.affected_users));
    if !finding.classes.is_empty() {
        let mut classes = Map::new();
        for (class, count) in &finding.classes {
            classes.insert((*class).to_owned(), json!(count));
        }
        json.insert("classes".to_owned(), Json::Object(classes));
    }
    Json::Object(json)
}

/// A number, or a string where JavaScript's numbers are not exact.
fn amount_json(amount: i128) -> Json {
    if amount.unsigned_abs() > 1 << 53 {
        json!(amount.to_string())
    } else {
        json!(i64::try_from(amount).unwrap())
    }
}
