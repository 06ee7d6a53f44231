//! Small hostile ledgers from a seed, as bytes: every field absent, null, twice, of an odd type, in any order.
//!
//! The framing is always valid BSON. All values come from tiny pools, so that ids and secrets collide often.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::float_arithmetic,
    clippy::cast_possible_truncation
)]

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use std::collections::BTreeSet;
use std::fmt;

pub(crate) const TOKENS_MAX: usize = 60;
pub(crate) const WALLETS_MAX: usize = 8;

/// Two collections, each concatenated BSON documents.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Ledger {
    pub(crate) tokens: Vec<u8>,
    pub(crate) wallets: Vec<u8>,
}

impl fmt::Debug for Ledger {
    /// One line a document, with what is printable readable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, collection) in [("token", &self.tokens), ("wallet", &self.wallets)] {
            for (index, document) in super::oracle::documents(collection).iter().enumerate() {
                writeln!(f, "\n{name} {index}: b\"{}\"", document.escape_ascii())?;
            }
        }
        Ok(())
    }
}

/// The ledger of `seed`: the same bytes each time.
pub(crate) fn random_ledger(seed: u64) -> Ledger {
    let mut random = Random(seed);
    let tokens = random.below(TOKENS_MAX + 1);
    let wallets = random.below(WALLETS_MAX + 1);
    let tokens: Vec<u64> = (0..tokens).map(|_| random.next()).collect();
    let wallets: Vec<u64> = (0..wallets).map(|_| random.next()).collect();
    ledger_of(&tokens, &wallets)
}

/// The ledger with one document for each seed.
pub(crate) fn ledger_of(token_seeds: &[u64], wallet_seeds: &[u64]) -> Ledger {
    let mut tokens = Vec::new();
    let mut ids = BTreeSet::new();
    for &seed in token_seeds {
        // No collection holds a document without `_id`, or two with the same.
        if let (Some(id), bytes) = token(&mut Random(seed))
            && ids.insert(id)
        {
            tokens.extend(bytes);
        }
    }
    let mut wallets = Vec::new();
    let mut ids = BTreeSet::new();
    for &seed in wallet_seeds {
        if let (Some(id), bytes) = wallet(&mut Random(seed))
            && ids.insert(id)
        {
            wallets.extend(bytes);
        }
    }
    Ledger { tokens, wallets }
}

/// Random ledgers that shrink by leaving documents out, and never change a document.
pub(crate) fn ledgers() -> impl Strategy<Value = Ledger> {
    ledgers_up_to(TOKENS_MAX, WALLETS_MAX)
}

/// As [`ledgers`], with at most so many documents.
pub(crate) fn ledgers_up_to(
    tokens_max: usize,
    wallets_max: usize,
) -> impl Strategy<Value = Ledger> {
    let seeds = |count_max: usize| vec(any::<u64>().no_shrink(), 0..=count_max);
    (seeds(tokens_max), seeds(wallets_max))
        .prop_map(|(tokens, wallets)| ledger_of(&tokens, &wallets))
}

// ---------------------------------------------------------------------------------------------
// Chance: SplitMix64, so that a seed in a bug report stays good whatever crates do.

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `bound` − 1.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn pick<T: Clone>(&mut self, pool: &[T]) -> T {
        pool[self.below(pool.len())].clone()
    }
}

// ---------------------------------------------------------------------------------------------
// Writing BSON.

/// A value: type byte and bytes.
pub(crate) type Value = (u8, Vec<u8>);

/// A document of fields in the given order; names may repeat and need not be UTF-8.
pub(crate) fn document(fields: &[(&[u8], Value)]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for (name, (kind, value)) in fields {
        assert!(!name.contains(&0), "a name can't hold a 0 byte");
        bytes.push(*kind);
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(value);
    }
    bytes.push(0);
    let length = i32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len() + 1).unwrap();
    [&length.to_le_bytes(), bytes, b"\0"].concat()
}

pub(crate) fn text(text: impl AsRef<[u8]>) -> Value {
    (0x02, sized(text.as_ref()))
}

pub(crate) fn symbol(text: &[u8]) -> Value {
    (0x0E, sized(text))
}

pub(crate) fn int32(number: i32) -> Value {
    (0x10, number.to_le_bytes().to_vec())
}

pub(crate) fn int64(number: i64) -> Value {
    (0x12, number.to_le_bytes().to_vec())
}

pub(crate) fn double(number: f64) -> Value {
    (0x01, number.to_le_bytes().to_vec())
}

/// `number` in the notation of decimal128: `12`, `1.50`, `1E+3`, `NaN`, `-Infinity`.
pub(crate) fn decimal(number: &str) -> Value {
    let number: bson::Decimal128 = number.parse().unwrap();
    (0x13, number.bytes().to_vec())
}

pub(crate) fn date(milliseconds: i64) -> Value {
    (0x09, milliseconds.to_le_bytes().to_vec())
}

pub(crate) fn null() -> Value {
    (0x0A, Vec::new())
}

pub(crate) fn undefined() -> Value {
    (0x06, Vec::new())
}

pub(crate) fn timestamp(seconds: u32, increment: u32) -> Value {
    (0x11, [increment.to_le_bytes(), seconds.to_le_bytes()].concat())
}

/// An object id of twelve equal bytes.
pub(crate) fn object_id(byte: u8) -> Value {
    (0x07, vec![byte; 12])
}

pub(crate) fn nested(fields: &[(&[u8], Value)]) -> Value {
    (0x03, document(fields))
}

pub(crate) fn array(values: Vec<Value>) -> Value {
    let names: Vec<String> = (0..values.len()).map(|index| index.to_string()).collect();
    let fields: Vec<(&[u8], Value)> = names.iter().map(String::as_bytes).zip(values).collect();
    (0x04, document(&fields))
}

fn binary(subtype: u8, bytes: &[u8]) -> Value {
    let length = i32::try_from(bytes.len()).unwrap();
    (0x05, [&length.to_le_bytes(), &[subtype][..], bytes].concat())
}

fn code_with_scope() -> Value {
    let inside = [sized(b"return x"), document(&[(b"x", int32(1))])].concat();
    let length = i32::try_from(4 + inside.len()).unwrap();
    (0x0F, [&length.to_le_bytes()[..], &inside].concat())
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(null(), |inside, level| {
        if level % 2 == 0 { nested(&[(b"down", inside)]) } else { array(vec![inside]) }
    })
}

/// One value of any type, most of them wrong wherever they are put.
fn any_value(random: &mut Random) -> Value {
    match random.below(32) {
        0 => double(f64::NAN),
        1 => text("unspent"),
        2 => nested(&[]),
        3 => array(Vec::new()),
        4 => binary(0, b"\0\x01\xff"),
        5 => binary(2, b"\x02\0\0\0ab"),
        6 => binary(4, &[7; 16]),
        7 => undefined(),
        8 => object_id(1),
        9 => (0x08, vec![0]),
        10 => (0x08, vec![1]),
        11 => date(i64::MIN),
        12 => date(0),
        13 => null(),
        14 => (0x0B, b"^npub\0im\0".to_vec()),
        15 => (0x0C, [sized(b"db.wallets"), vec![1; 12]].concat()),
        16 => (0x0D, sized(b"return 1")),
        17 => symbol(b"unspent"),
        18 => symbol(b"melted"),
        19 => code_with_scope(),
        20 => int32(-1),
        21 => timestamp(0, 0),
        22 => timestamp(1_700_000_000, 3),
        23 => int64(i64::MIN),
        24 => decimal("1"),
        25 => (0xFF, Vec::new()),
        26 => (0x7F, Vec::new()),
        27 => text(b"\xff\xfe not UTF-8 \xc3"),
        28 => text(b"with\0zero"),
        29 => text(""),
        30 => deep(12),
        _ => nested(&[(b"status", text("unspent")), (b"$set", nested(&[(b"", null())]))]),
    }
}

// ---------------------------------------------------------------------------------------------
// The pools.

/// Valid ones.
pub(crate) const NPUBS: [&str; 4] = [
    "npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg",
    "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6",
    "npub1qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0st5hsmq",
    "npub14w46h2at4w46h2at4w46h2at4w46h2at4w46h2at4w46h2at4w4scf6zts",
];

pub(crate) const MALFORMED_NPUBS: [&[u8]; 9] = [
    b"",
    b"npub1",
    b"alice",
    b"npub\xff\xfe",
    // Upper case, mixed case, a wrong last character, another prefix, a space.
    b"NPUB10ELFCS4FR0L0R8AF98JLMGDH9C8TCXJVZ9QKW038JS35MP4DMA8QZVJPTG",
    b"npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptG",
    b"npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptq",
    b"note10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg",
    b"npub10elfcs4fr0l0r8af98jlmgdh9c8tcxjvz9qkw038js35mp4dma8qzvjptg ",
];

const MINTS: [&str; 3] = ["https://mint.a/", "https://mint.b/", "https://mint,\"c\"/"];

fn npub(random: &mut Random) -> Value {
    if random.percent(90) { text(random.pick(&NPUBS)) } else { text(random.pick(&MALFORMED_NPUBS)) }
}

fn mint(random: &mut Random) -> Value {
    text(random.pick(&MINTS))
}

fn wallet_id(random: &mut Random) -> Value {
    match random.below(24) {
        0 => text("wallet"),
        1 => int32(1),
        2 => int64(1),
        3 => double(1.0),
        number => object_id((number % 7) as u8),
    }
}

fn transaction_id(random: &mut Random) -> Value {
    match random.below(50) {
        0 => int32(1),
        1 => int64(1),
        2 => text(""),
        3 => text(b"tx\xff"),
        number => text(format!("tx-{number}")),
    }
}

fn status(random: &mut Random) -> Value {
    let words = ["unspent", "unspent", "unspent", "spent", "spent", "pending", "failed"];
    if random.percent(95) {
        text(random.pick(&words))
    } else {
        text(random.pick(&["Unspent", "", "unspent ", "unspent\0", "melted", "burnt"]))
    }
}

fn transaction_type(random: &mut Random) -> Value {
    let words = ["melted", "melted", "melted", "received", "sent", "minted", "change", "change"];
    if random.percent(95) {
        text(random.pick(&words))
    } else {
        text(random.pick(&["Melted", "", "melted\0", "swapped", "unspent"]))
    }
}

fn amount(random: &mut Random) -> Value {
    match random.below(10) {
        0..=4 => int32(random.pick(&[0, 1, 2, 3, 4, 8, 8, 16])),
        5 => int64(random.pick(&[1, 2, 8, 1 << 40])),
        6 => double(random.pick(&[1.0, 2.0, 8.0])),
        7 => decimal(random.pick(&["2", "8", "1.0", "8E+0", "1E+2"])),
        _ => odd_amount(random),
    }
}

/// A decimal128 of these bits.
pub(crate) fn decimal_bits(bits: u128) -> Value {
    (0x13, bits.to_le_bytes().to_vec())
}

/// Finite decimals whose coefficient is above 34 digits, which the standard reads as zero: one in the
/// first form, and the second form with each of its three beginnings.
pub(crate) const NOT_CANONICAL: [u128; 4] = [
    (6176 << 113) | 10_u128.pow(34),
    (0b1100 << 123) | 8,
    (0b1101 << 123) | 8,
    (0b1110 << 123) | 8,
];

fn odd_amount(random: &mut Random) -> Value {
    const EDGE: f64 = 9_007_199_254_740_992.0;
    let doubles = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        8.5,
        -1.0,
        EDGE,
        -EDGE,
        EDGE - 1.0,
        EDGE + 2.0,
        -EDGE - 2.0,
        1e300,
        5e-324,
        9.3e18,
    ];
    let decimals = [
        "NaN",
        "Infinity",
        "-Infinity",
        "-0",
        "0E-6176",
        "0E+6111",
        "1.5",
        "1.50",
        "150E-1",
        "15E-1",
        "1E-6176",
        "1E+6144",
        "-3",
        "-3.00",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "9223372036854775807.0",
        "92233720368547758E+2",
        "92233720368547759E+2",
        "9999999999999999999999999999999999",
        "1E+18",
        "1E+19",
        "1000E-3",
    ];
    match random.below(15) {
        14 => decimal_bits(random.pick(&NOT_CANONICAL)),
        0..=3 => double(random.pick(&doubles)),
        4..=7 => decimal(random.pick(&decimals)),
        8 | 9 => int64(random.pick(&[i64::MIN, i64::MAX, i64::MIN + 1, (1 << 53) + 1, -8])),
        10 | 11 => int32(random.pick(&[i32::MIN, i32::MAX, -1, -8])),
        _ => random.pick(&[text("8"), null(), undefined(), date(8), timestamp(0, 8)]),
    }
}

fn any_date(random: &mut Random) -> Value {
    let times = [1_700_000_000_000, 1_700_000_000_001, 0, -1, i64::MAX, i64::MIN];
    date(random.pick(&times))
}

fn proof(random: &mut Random, amounts: &mut Vec<i32>) -> Value {
    if random.percent(6) {
        return random.pick(&[
            null(),
            int32(1),
            text("proof"),
            array(vec![nested(&[])]),
            nested(&[]),
        ]);
    }
    let mut fields: Vec<(&[u8], Value)> = vec![(b"id", text("009a1f293253e41e"))];
    if random.percent(93) {
        let value = random.pick(&[1, 2, 4, 8]);
        amounts.push(value);
        fields.push((b"amount", int32(value)));
    } else if random.percent(80) {
        fields.push((b"amount", odd_amount(random)));
    }
    if random.percent(95) {
        fields.push((b"secret", text(format!("secret-{}", random.below(70)))));
    } else if random.percent(80) {
        let odd = [text(""), null(), text(b"secret\xff"), symbol(b"secret-1"), int32(1)];
        fields.push((b"secret", random.pick(&odd)));
    }
    fields.push((b"C", text("02c0ffee")));
    if random.percent(4) {
        let second = format!("secret-{}", random.below(70));
        fields.push((b"secret", text(second)));
        fields.push((b"amount", int32(64)));
    }
    shuffle_rarely(random, &mut fields);
    nested(&fields)
}

/// The proofs, and the plain sum of their plain amounts.
fn proofs(random: &mut Random) -> (Value, i32) {
    let mut amounts = Vec::new();
    let count = random.below(4);
    let entries: Vec<Value> = (0..count).map(|_| proof(random, &mut amounts)).collect();
    let (_, bytes) = array(entries);
    // Rarely a document whose names are an array's: no array, so no proofs.
    let kind = if random.percent(3) { 0x03 } else { 0x04 };
    ((kind, bytes), amounts.iter().sum())
}

fn metadata(random: &mut Random) -> Value {
    let mut fields: Vec<(&[u8], Value)> = Vec::new();
    if random.percent(93) {
        fields.push((b"source", text(random.pick(&["lightning", "p2p", "mint", "change"]))));
    } else if random.percent(60) {
        fields.push((b"source", any_value(random)));
    }
    if random.percent(60) {
        fields.push((b"total_amount", amount(random)));
    }
    if random.percent(60) {
        fields.push((b"melt_transaction_id", transaction_id(random)));
    }
    if random.percent(5) {
        fields.push((
            random.pick(&[b"source" as &[u8], b"total_amount", b"extra", b"$inc"]),
            any_value(random),
        ));
    }
    shuffle_rarely(random, &mut fields);
    if random.percent(2) { array(vec![nested(&fields)]) } else { nested(&fields) }
}

fn shuffle_rarely(random: &mut Random, fields: &mut [(&[u8], Value)]) {
    if random.percent(15) {
        for last in (1..fields.len()).rev() {
            fields.swap(last, random.below(last + 1));
        }
    }
}

/// Puts a field or, as often as `odd` percent, leaves it out, gives it an odd value or puts it twice.
fn put<'a>(
    random: &mut Random,
    odd: usize,
    fields: &mut Vec<(&'a [u8], Value)>,
    name: &'a [u8],
    value: Value,
) {
    if !random.percent(odd) {
        fields.push((name, value));
        return;
    }
    match random.below(6) {
        0 | 1 => {}
        2 => fields.push((name, null())),
        3 | 4 => fields.push((name, any_value(random))),
        _ => {
            let other = if random.percent(50) { value.clone() } else { any_value(random) };
            let pair = if random.percent(50) { [value, other] } else { [other, value] };
            fields.extend(pair.map(|value| (name, value)));
        }
    }
}

fn put_extras(random: &mut Random, fields: &mut Vec<(&[u8], Value)>) {
    let names: [&[u8]; 9] =
        [b"__v", b"note", b"$set", b"a.b", b"", b"name\xff", b"Status", b"created_at", b"id"];
    for _ in 0..random.below(3) {
        let at = random.below(fields.len() + 1);
        fields.insert(at, (random.pick(&names), any_value(random)));
    }
}

/// How often, in percent, each field of one document is odd: most documents are nearly whole.
fn oddness(random: &mut Random) -> usize {
    random.pick(&[0, 1, 3, 3, 8, 8, 40])
}

/// A token and its first `_id`.
fn token(random: &mut Random) -> (Option<Value>, Vec<u8>) {
    let odd = oddness(random);
    let mut fields: Vec<(&[u8], Value)> = Vec::new();
    let id = if random.percent(90) {
        (0x07, [vec![0x66; 4], random.next().to_le_bytes().to_vec()].concat())
    } else {
        any_value(random)
    };
    put(random, odd, &mut fields, b"_id", id);
    let value = npub(random);
    put(random, odd, &mut fields, b"npub", value);
    let value = wallet_id(random);
    put(random, odd, &mut fields, b"wallet_id", value);
    let (value, sum) = proofs(random);
    put(random, odd, &mut fields, b"proofs", value);
    let value = mint(random);
    put(random, odd, &mut fields, b"mint_url", value);
    let value = if random.percent(70) { int32(sum) } else { amount(random) };
    put(random, odd, &mut fields, b"total_amount", value);
    let value = status(random);
    put(random, odd, &mut fields, b"status", value);
    let value = transaction_type(random);
    put(random, odd, &mut fields, b"transaction_type", value);
    let value = transaction_id(random);
    put(random, odd, &mut fields, b"transaction_id", value);
    let value = metadata(random);
    put(random, odd, &mut fields, b"metadata", value);
    match random.below(4) {
        0 => {}
        1 => fields.push((b"spent_at", null())),
        _ => {
            let value = any_date(random);
            put(random, odd, &mut fields, b"spent_at", value);
        }
    }
    for name in [b"createdAt", b"updatedAt"] {
        let value = any_date(random);
        put(random, odd.max(5), &mut fields, name, value);
    }
    if random.percent(30) {
        put_extras(random, &mut fields);
    }
    shuffle_rarely(random, &mut fields);
    (first_id(&fields), document(&fields))
}

fn first_id(fields: &[(&[u8], Value)]) -> Option<Value> {
    fields.iter().find(|(name, _)| *name == b"_id").map(|(_, value)| value.clone())
}

/// A wallet and its first `_id`.
fn wallet(random: &mut Random) -> (Option<Value>, Vec<u8>) {
    let odd = oddness(random);
    let mut fields: Vec<(&[u8], Value)> = Vec::new();
    let value = wallet_id(random);
    put(random, odd, &mut fields, b"_id", value);
    let value = npub(random);
    put(random, odd, &mut fields, b"npub", value);
    let value = mint(random);
    put(random, odd, &mut fields, b"mint_url", value);
    fields.push((b"wallet_config", nested(&[(b"unit", text("sat"))])));
    if random.percent(30) {
        put_extras(random, &mut fields);
    }
    shuffle_rarely(random, &mut fields);
    (first_id(&fields), document(&fields))
}
