//! `duplicate_transaction_id`: one id in several documents.

use super::expression::{choose, equal, identity, is_absent, is_some, nothing, one_if, read, text};
use super::figures::sums_and_users;
use crate::model::FindingCode;
use mongodb::bson::{Document, doc};

/// The figure whose users are those with any document of such an id.
pub(super) const OF_A_DUPLICATE: &str = "of_a_duplicate";

/// The pipeline.
pub(super) fn pipeline() -> Vec<Document> {
    let code = FindingCode::DuplicateTransactionId.as_str();
    let mut stages = vec![
        read(doc! {
            "user": text("$npub"),
            "id": choose(is_absent("$transaction_id"), nothing(), identity("$transaction_id")),
        }),
        doc! {"$match": {"$expr": is_some("$id")}},
        doc! {"$group": {
            "_id": "$id", "documents": {"$sum": 1}, "users": {"$addToSet": "$user"},
        }},
        doc! {"$match": {"documents": {"$gt": 1}}},
        // A document for each user of the id; the first one counts the id.
        doc! {"$replaceWith": {"users": "$users"}},
        doc! {"$unwind": {"path": "$users", "includeArrayIndex": "nth"}},
        doc! {"$replaceWith": {
            "user": "$users", code: one_if(equal("$nth", 0_i64)), OF_A_DUPLICATE: 1,
        }},
    ];
    stages.extend(sums_and_users(&[code, OF_A_DUPLICATE]));
    stages
}
