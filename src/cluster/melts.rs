//! `missing_change`: melts that took more than they cost, grouped with the change documents that name them.

use super::expression::{
    all, amount, any, choose, equal, inside, is, is_some, nothing, one_if, read, text,
};
use super::figures::sums_and_users;
use crate::model::{FindingCode, TransactionType};
use mongodb::bson::{Bson, Document, doc};

/// What the melts took beyond their cost.
pub(super) const EXCESS: &str = "excess";

/// The pipeline.
pub(super) fn pipeline() -> Vec<Document> {
    let code = FindingCode::MissingChange.as_str();
    let has_melt: Bson = doc! {"$gt": ["$melts", 0]}.into();
    let melts_of_user = doc! {"user": "$_id.user", code: "$melts", EXCESS: "$excess"};
    let mut stages = vec![
        read(doc! {
            "user": text("$npub"),
            "id": choose(is_type(TransactionType::Change), named(), text("$transaction_id")),
            "is_change": is_type(TransactionType::Change),
            EXCESS: choose(is_type(TransactionType::Melted), excess(), nothing()),
        }),
        doc! {"$match": {"$expr": any([is_change_with_name(), is_above_cost()])}},
        doc! {"$group": {
            "_id": {"id": "$id", "user": "$user"},
            "changes": {"$sum": one_if(is_change_with_name())},
            "melts": {"$sum": one_if(is_above_cost())},
            EXCESS: {"$sum": choose(is_above_cost(), "$excess", 0)},
        }},
        doc! {"$group": {
            // A melt without an id stays with its user: no change can name it.
            "_id": {"id": "$_id.id", "user": choose(is_some("$_id.id"), nothing(), "$_id.user")},
            "changes": {"$sum": "$changes"},
            "melts": {"$push": choose(has_melt, melts_of_user, "$$REMOVE")},
        }},
        doc! {"$match": {"changes": 0}},
        doc! {"$unwind": "$melts"},
        doc! {"$replaceWith": "$melts"},
    ];
    stages.extend(sums_and_users(&[code, EXCESS]));
    stages
}

fn is_type(kind: TransactionType) -> Bson {
    // A symbol equals the string of its bytes, so that the type is looked at as well.
    all([is("$transaction_type", "string"), equal("$transaction_type", kind.as_str())])
}

fn is_change_with_name() -> Bson {
    all(["$is_change".into(), is_some("$id")])
}

/// Null, which sorts below all numbers, is not above 0.
fn is_above_cost() -> Bson {
    doc! {"$gt": ["$excess", 0]}.into()
}

/// The melt that a document names in its metadata, when that is text.
fn named() -> Bson {
    let value = inside("$metadata", "melt_transaction_id");
    let vars = doc! {"named": value};
    doc! {"$let": {"vars": vars, "in": text("$$named")}}.into()
}

/// `total_amount` − `metadata.total_amount`, null when one of them is no amount.
fn excess() -> Bson {
    let cost = inside("$metadata", "total_amount");
    let vars = doc! {"total": amount("$total_amount"), "cost": cost};
    let subtracted = doc! {"$subtract": ["$$total", amount("$$cost")]};
    doc! {"$let": {"vars": vars, "in": subtracted}}.into()
}
