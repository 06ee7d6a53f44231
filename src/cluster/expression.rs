//! What the pipelines say about one value: whether it is text, an amount, an identifier.
//!
//! `docs/findings.md`, "Reading a document", in the server's expressions. The server compares numbers
//! across types, a symbol with a string, and follows a path through arrays; each function here says what
//! keeps its meaning exact. Pipelines make documents with `$replaceWith` and never with `$project`, which
//! would merge an embedded document into a field of that name that the ledger's document happens to have.

use mongodb::bson::{Bson, Decimal128, Document, doc};

/// Largest integer up to which a double holds every one.
const DOUBLE_MAX: i64 = 1 << 53;

/// The stage that reads `fields` of a ledger's document; first in every pipeline.
///
/// It looks at the whole document besides. Otherwise the server would read only the fields that the
/// pipeline names, and stop after as many as there are names: of a document in which one occurs twice, it
/// would miss another.
pub(super) fn read(mut fields: Document) -> Document {
    fields.insert("whole", doc! {"$type": "$$ROOT"});
    doc! {"$replaceWith": fields}
}

/// An `$and`.
pub(super) fn all(conditions: impl Into<Vec<Bson>>) -> Bson {
    doc! {"$and": Bson::Array(conditions.into())}.into()
}

/// An `$or`.
pub(super) fn any(conditions: impl Into<Vec<Bson>>) -> Bson {
    doc! {"$or": Bson::Array(conditions.into())}.into()
}

/// A `$not`.
pub(super) fn not(condition: Bson) -> Bson {
    doc! {"$not": [condition]}.into()
}

/// An `$eq`. Of text only between values that are text or null: a symbol equals the string of its bytes.
pub(super) fn equal(one: impl Into<Bson>, other: impl Into<Bson>) -> Bson {
    doc! {"$eq": [one.into(), other.into()]}.into()
}

/// Whether a number or null is below 0; nothing, which sorts below all numbers, is not.
pub(super) fn below_zero(number: &str) -> Bson {
    all([is_some(number), doc! {"$lt": [number, 0]}.into()])
}

/// Whether a value that one of these functions made is not null.
pub(super) fn is_some(value: &str) -> Bson {
    doc! {"$ne": [value, nothing()]}.into()
}

/// A `$cond`.
pub(super) fn choose(condition: Bson, yes: impl Into<Bson>, no: impl Into<Bson>) -> Bson {
    doc! {"$cond": [condition, yes.into(), no.into()]}.into()
}

/// 1 when `condition` holds, else 0.
pub(super) fn one_if(condition: Bson) -> Bson {
    choose(condition, 1, 0)
}

/// Null.
pub(super) const fn nothing() -> Bson {
    Bson::Null
}

/// Whether `value`'s type is `name`, as the server names types.
pub(super) fn is(value: &str, name: &str) -> Bson {
    equal(doc! {"$type": value}, name)
}

/// Whether `value` is absent or null; not so undefined, which compares like null.
pub(super) fn is_absent(value: &str) -> Bson {
    doc! {"$in": [{"$type": value}, ["missing", "null"]]}.into()
}

/// `value` when it is text, else null.
pub(super) fn text(value: &str) -> Bson {
    choose(is(value, "string"), value, nothing())
}

/// The field of an embedded document; absent when `document` is anything else. A bare path would gather
/// the fields of an array's documents.
pub(super) fn inside(document: &str, field: &str) -> Bson {
    choose(is(document, "object"), format!("{document}.{field}"), "$$REMOVE")
}

/// `value` as a Decimal128 when it is an amount, else null.
///
/// Decimal128 holds 34 digits, so that any sum of 64-bit integers that a ledger can have is exact;
/// `$sum` of 64-bit integers turns into a double when it overflows. A double goes by way of a 64-bit
/// integer, since `$toDecimal` rounds it to 15 digits; so does a decimal, which then has no fraction and no
/// bits that the standard reads as zero.
pub(super) fn amount(value: &str) -> Bson {
    let whole = || equal("$$number", doc! {"$trunc": "$$number"});
    let within = |least: Bson, most: Bson| {
        all([
            doc! {"$gte": ["$$number", least]}.into(),
            doc! {"$lte": ["$$number", most]}.into(),
            whole(),
        ])
    };
    let long = doc! {"$toDecimal": {"$toLong": "$$number"}};
    doc! {"$let": {
        "vars": {"number": value, "type": {"$type": value}},
        "in": {"$switch": {
            "branches": [
                {"case": {"$in": ["$$type", ["int", "long"]]}, "then": {"$toDecimal": "$$number"}},
                {
                    "case": all([
                        equal("$$type", "double"),
                        within(Bson::Int64(-DOUBLE_MAX), Bson::Int64(DOUBLE_MAX)),
                    ]),
                    "then": long.clone(),
                },
                {
                    "case": all([
                        equal("$$type", "decimal"),
                        within(decimal(i64::MIN), decimal(i64::MAX)),
                    ]),
                    "then": long,
                },
            ],
            "default": nothing(),
        }},
    }}
    .into()
}

/// An integer as a Decimal128.
fn decimal(number: i64) -> Bson {
    // The binary integer encoding: sign, exponent 0 (biased by 6176), and the integer itself.
    const EXPONENT_0: u128 = 6176 << 113;
    let sign = u128::from(number < 0) << 127;
    let bits = sign | EXPONENT_0 | u128::from(number.unsigned_abs());
    Bson::Decimal128(Decimal128::from_bytes(bits.to_le_bytes()))
}

/// A value that equals another one's when type and bytes are equal: the server alone would take 1, 1.0 and
/// a decimal 1 for the same, and a symbol for a string. Text and ObjectIds, which nearly all are, stand for
/// themselves; they equal no document.
///
/// Zeros of either sign and decimals of different exponents are told apart by their digits. What stays
/// the same to the server: NaNs with different payloads, and numbers of different types but equal value
/// inside an identifier that is itself a document or an array.
pub(super) fn identity(value: &str) -> Bson {
    let is_plain = doc! {"$in": [{"$type": value}, ["string", "objectId"]]};
    let floating = doc! {"$in": [{"$type": value}, ["double", "decimal"]]};
    let typed = doc! {
        "type": {"$type": value},
        "value": value,
        "digits": choose(floating.into(), doc! {"$toString": value}, "$$REMOVE"),
    };
    choose(is_plain.into(), value, typed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_the_integers_they_stand_for() {
        for number in [0, 1, -1, i64::MIN, i64::MAX] {
            let Bson::Decimal128(decimal) = decimal(number) else { panic!("a decimal") };
            assert_eq!(decimal.to_string(), number.to_string());
        }
    }
}
