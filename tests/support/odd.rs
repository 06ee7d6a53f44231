//! Odd values and documents that a ledger may hold: a catalogue, and random ones.

use super::random::Random;
use super::raw::{
    RawValue, array, bare, binary, date, deep, document, double_bits, element, int32, int64,
    nested, string, text_bytes,
};
use super::raw_collection::numbered_id;
use remelt::document::ValueKind;

/// The fields that the repair changes, in the order in which the server appends absent ones.
pub(crate) const CHANGED: [&str; 3] = ["spent_at", "status", "updatedAt"];

/// A value or document and what is odd about it.
pub(crate) type Labelled<T> = (String, T);

/// One value of every type and every oddity within a type.
pub(crate) fn values() -> Vec<Labelled<RawValue>> {
    let mut values = texts();
    values.extend(numbers());
    values.extend(containers());
    values.extend(others());
    values.into_iter().map(|(label, value)| (label.to_owned(), value)).collect()
}

fn texts() -> Vec<(&'static str, RawValue)> {
    let kind = |kind, text: &[u8]| RawValue::new(kind, text_bytes(text));
    vec![
        ("text", string("spent")),
        ("empty text", string("")),
        ("text that is not UTF-8", string(b"spent\xff\xfe\xc0")),
        ("text with a surrogate", string(b"\xed\xa0\x80")),
        ("text with a 0 byte", string(b"sp\0ent")),
        ("long text", string(vec![b'x'; 5_000])),
        ("code", kind(ValueKind::Code, b"return 1")),
        ("symbol", kind(ValueKind::Symbol, b"spent")),
        ("symbol that is not UTF-8", kind(ValueKind::Symbol, b"\xff")),
        ("regex", RawValue::new(ValueKind::Regex, *b"^a\0i\0")),
        ("regex with flags out of order", RawValue::new(ValueKind::Regex, *b"^a\0xsmi\0")),
        ("regex with unknown flags", RawValue::new(ValueKind::Regex, *b"(\0zq\0")),
    ]
}

fn numbers() -> Vec<(&'static str, RawValue)> {
    let decimal = |bits: u128| RawValue::new(ValueKind::Decimal128, bits.to_le_bytes());
    vec![
        ("double", double_bits(8.5_f64.to_bits())),
        ("minus zero", double_bits(1 << 63)),
        ("infinity", double_bits(f64::INFINITY.to_bits())),
        ("quiet NaN", double_bits(0x7ff8_0000_0000_0000)),
        ("NaN with a payload", double_bits(0x7ff8_0000_dead_beef)),
        ("signalling NaN", double_bits(0x7ff0_0000_0000_0001)),
        ("negative NaN", double_bits(0xfff8_0000_0000_0001)),
        ("subnormal", double_bits(1)),
        ("int32", int32(-1)),
        ("int64", int64(i64::MIN)),
        ("decimal", decimal(0x3040_0000_0000_0000_0000_0000_0000_0008)),
        ("decimal NaN with a payload", decimal(0x7c00_0000_0000_0000_0000_0000_0000_0007)),
        ("decimal that is not canonical", decimal(0x6c10_0000_0000_0000_0000_0000_0000_0001)),
        ("date", date(1_700_000_000_000)),
        ("least date", date(i64::MIN)),
        ("timestamp 0", RawValue::new(ValueKind::Timestamp, [0; 8])),
        ("timestamp", RawValue::new(ValueKind::Timestamp, [7; 8])),
        ("false", RawValue::new(ValueKind::Boolean, [0])),
        ("true", RawValue::new(ValueKind::Boolean, [1])),
    ]
}

fn containers() -> Vec<(&'static str, RawValue)> {
    let one = int32(1);
    let names =
        |names: &[&str]| -> Vec<Vec<u8>> { names.iter().map(|n| element(n, &one)).collect() };
    let odd_array = |list: &[&str]| RawValue::new(ValueKind::Array, document(&names(list)));
    vec![
        ("empty document", nested(&[])),
        ("document", nested(&names(&["b", "a"]))),
        ("document with $ names", nested(&names(&["$x", "$date"]))),
        ("document with a dotted name", nested(&names(&["a.b", "."]))),
        ("document with an empty name", nested(&names(&[""]))),
        ("document with a name twice", nested(&names(&["a", "a"]))),
        ("document with a name that is not UTF-8", nested(&[element(b"\xff\xfe", &one)])),
        (
            "document with timestamp 0",
            nested(&[element("t", &RawValue::new(ValueKind::Timestamp, [0; 8]))]),
        ),
        ("document with an _id inside", nested(&names(&["a", "_id"]))),
        ("empty array", array(&[])),
        ("array", array(&[one.clone(), string("x"), array(&[bare(ValueKind::Null)])])),
        ("array with names 5 and 7", odd_array(&["5", "7"])),
        ("array with one name twice", odd_array(&["0", "0"])),
        ("array with names that are no numbers", odd_array(&["x", ""])),
        ("documents 99 deep", deep(ValueKind::Document, 99)),
        ("arrays 99 deep", deep(ValueKind::Array, 99)),
        ("documents 100 deep", deep(ValueKind::Document, 100)),
        ("arrays 100 deep", deep(ValueKind::Array, 100)),
        ("code with scope", code_with_scope()),
    ]
}

fn code_with_scope() -> RawValue {
    let inner = [text_bytes(b"f()"), document(&[element("x", &int32(1))])].concat();
    let length = i32::try_from(4 + inner.len()).unwrap();
    RawValue::new(ValueKind::CodeWithScope, [&length.to_le_bytes()[..], &inner].concat())
}

fn others() -> Vec<(&'static str, RawValue)> {
    let pointer = [&text_bytes(b"db.c")[..], &[9; 12]].concat();
    vec![
        ("null", bare(ValueKind::Null)),
        ("undefined", bare(ValueKind::Undefined)),
        ("least key", bare(ValueKind::MinKey)),
        ("greatest key", bare(ValueKind::MaxKey)),
        ("object id", RawValue::new(ValueKind::ObjectId, [3; 12])),
        ("pointer", RawValue::new(ValueKind::DbPointer, pointer)),
        ("empty binary", binary(0, b"")),
        ("binary", binary(0, b"\x00\xff")),
        ("old binary with a wrong length inside", binary(2, b"\x7f\x00\x00\x00ab")),
        ("UUID of a wrong length", binary(4, b"abc")),
        ("encrypted binary", binary(6, b"abc")),
        ("binary of a user's type", binary(0x80, b"abc")),
    ]
}

/// Documents around every odd value, name and order, each with a plain `_id` of its own.
pub(crate) fn documents() -> Vec<Labelled<Vec<u8>>> {
    let mut documents = fields_everywhere();
    documents.extend(odd_names());
    documents.extend(odd_orders());
    documents
}

/// Each changed field with each odd value: as first, middle and last field; and in a field beside.
fn fields_everywhere() -> Vec<Labelled<Vec<u8>>> {
    let mut documents = Vec::new();
    for (label, value) in values() {
        for name in CHANGED.into_iter().chain(["other"]) {
            for (place, position) in [("first", 1), ("middle", 2), ("last", 4)] {
                let mut elements = plain_elements(1_000 + documents.len());
                elements.insert(position, element(name, &value));
                documents.push((format!("{name} is {label}, {place}"), document(&elements)));
            }
        }
    }
    documents
}

/// `_id` and three fields that the repair leaves alone.
fn plain_elements(number: usize) -> Vec<Vec<u8>> {
    vec![
        numbered_id(number),
        element("amount", &int64(8)),
        element("npub", &string("npub1")),
        element("zeta", &bare(ValueKind::Null)),
    ]
}

fn odd_names() -> Vec<Labelled<Vec<u8>>> {
    let long = "n".repeat(10_000);
    let names: [&[u8]; 18] = [
        b"",
        b".",
        b"a.b",
        b"status.",
        b"status.inner",
        b".status",
        b"$set",
        b"$status",
        b"$ref",
        b"\xff\xfe",
        b"status\xff",
        b"Status",
        b"statu",
        b"status2",
        b"__proto__",
        b"_id2",
        b"0",
        long.as_bytes(),
    ];
    let label = |name: &[u8]| {
        let shown = String::from_utf8_lossy(name);
        format!("a field named {shown:.20}")
    };
    let build = |(number, name): (usize, &&[u8])| {
        let mut elements = plain_elements(5_000 + number);
        elements.insert(2, element(name, &int32(1)));
        (label(name), document(&elements))
    };
    names.iter().enumerate().map(build).collect()
}

fn odd_orders() -> Vec<Labelled<Vec<u8>>> {
    let status = element("status", &string("pending"));
    let amount = |value| element("amount", &int32(value));
    let reversed: Vec<Vec<u8>> =
        CHANGED.iter().rev().map(|name| element(name, &bare(ValueKind::Null))).collect();
    let many = (0..2_000).map(|n| element(format!("f{n}"), &int32(n)));
    let shapes = vec![
        (
            "as deep as the server stores",
            vec![numbered_id(6_006), element("d", &deep(ValueKind::Document, 180))],
        ),
        ("_id alone", vec![numbered_id(6_000)]),
        ("no _id", vec![status.clone(), amount(1)]),
        ("_id last", vec![status.clone(), amount(1), numbered_id(6_001)]),
        ("another name twice", vec![numbered_id(6_002), amount(1), status, amount(2)]),
        ("another name twice, together", vec![numbered_id(6_003), amount(1), amount(2)]),
        ("changed fields in reverse", [vec![numbered_id(6_004)], reversed].concat()),
        ("many fields", [vec![numbered_id(6_005)], many.collect()].concat()),
    ];
    shapes.into_iter().map(|(label, elements)| (label.to_owned(), document(&elements))).collect()
}

/// A document of random fields, with each changed field there or not, anywhere, of any type.
pub(crate) fn random_document(random: &mut Random, number: usize) -> Vec<u8> {
    let catalogue = values();
    let mut elements: Vec<Vec<u8>> = (0..random.below(8))
        .map(|_| element(random_name(random), &random_value(random, &catalogue, 0)))
        .collect();
    for name in CHANGED {
        if !random.once_in(3) {
            elements.push(element(name, &random_value(random, &catalogue, 0)));
        }
    }
    random.shuffle(&mut elements);
    elements.insert(0, numbered_id(number));
    document(&elements)
}

/// A name that is none of the changed fields'.
fn random_name(random: &mut Random) -> Vec<u8> {
    let length = random.below(6);
    let mut name = random.bytes(length);
    name.retain(|&byte| byte != 0);
    // A name of the server's own, such as _id, would be more than odd.
    name.insert(0, *random.one_of(b"abcstu\xf0"));
    name
}

fn random_value(random: &mut Random, catalogue: &[Labelled<RawValue>], level: usize) -> RawValue {
    if level > 5 || !random.once_in(3) {
        return random.one_of(catalogue).1.clone();
    }
    let values = (0..random.below(5)).map(|_| random_value(random, catalogue, level + 1));
    let values: Vec<RawValue> = values.collect();
    if random.once_in(2) {
        return array(&values);
    }
    let named = values.iter().map(|value| element(random_name(random), value));
    nested(&named.collect::<Vec<_>>())
}
