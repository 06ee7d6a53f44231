//! `duplicate_secrets` and `double_counted`: proofs grouped by secret. The secrets never leave the server,
//! where they are compared as they are; only counts do.

use super::expression::{all, amount, any, choose, equal, is, not, nothing, one_if, read, text};
use super::figures::sums_and_users;
use crate::model::FindingCode;
use mongodb::bson::{Bson, Document, doc};

pub(super) const BENIGN_COPY: &str = "benign_copy";
pub(super) const DOUBLE_COUNTED: &str = "double_counted";
pub(super) const CROSS_USER: &str = "cross_user";
pub(super) const PHANTOM_AMOUNT: &str = "phantom_amount";

/// The figures whose users are those with any document of such a secret.
pub(super) const OF_A_DUPLICATE: &str = "of_a_duplicate";
pub(super) const OF_A_DOUBLE_COUNTED: &str = "of_a_double_counted";

/// The pipeline.
pub(super) fn pipeline() -> Vec<Document> {
    let mut stages = vec![
        read(doc! {
            "_id": "$_id", "user": text("$npub"), "place": place(), "proof": proofs_with_a_secret(),
        }),
        doc! {"$unwind": "$proof"},
        doc! {"$group": by_secret()},
        doc! {"$match": {"proofs": {"$gt": 1}}},
        doc! {"$replaceWith": {"users": "$users", "phantom": phantom(), "is_cross_user": {
            "$gt": [{"$size": "$users"}, 1],
        }}},
        // A document for each user of the secret; the first one counts the secret.
        doc! {"$unwind": {"path": "$users", "includeArrayIndex": "nth"}},
        doc! {"$replaceWith": votes()},
    ];
    stages.extend(sums_and_users(&[
        FindingCode::DuplicateSecrets.as_str(),
        BENIGN_COPY,
        DOUBLE_COUNTED,
        CROSS_USER,
        PHANTOM_AMOUNT,
        OF_A_DUPLICATE,
        OF_A_DOUBLE_COUNTED,
    ]));
    stages
}

const SPENDABLE: &str = "spendable";
const GONE: &str = "gone";
/// Melted and yet unspent or pending.
const BOTH: &str = "both";

/// Whether the document's proofs are spendable, gone, or both; null for neither.
fn place() -> Bson {
    let text_in = |field: &str, words: &[&str]| -> Bson {
        doc! {"$in": [text(field), words.to_vec()]}.into()
    };
    let is_spendable = text_in("$status", &["unspent", "pending"]);
    let is_melted = text_in("$transaction_type", &["melted"]);
    let is_spent = text_in("$status", &["spent"]);
    choose(
        is_spendable,
        choose(is_melted.clone(), BOTH, SPENDABLE),
        choose(any([is_spent, is_melted]), GONE, nothing()),
    )
}

/// Secret and amount of each proof that has a secret: text that is not empty.
fn proofs_with_a_secret() -> Bson {
    let has_secret = all([
        is("$$proof", "object"),
        is("$$proof.secret", "string"),
        not(equal("$$proof.secret", "")),
    ]);
    let filtered = doc! {"$filter": {"input": "$proofs", "as": "proof", "cond": has_secret}};
    let counted = doc! {"$ifNull": [amount("$$proof.amount"), 0]};
    let read = doc! {"secret": "$$proof.secret", "amount": counted};
    let mapped = doc! {"$map": {"input": filtered, "as": "proof", "in": read}};
    choose(is("$proofs", "array"), mapped, Bson::Array(Vec::new()))
}

/// What the verdict on a secret needs, in sums and extremes: no list but that of the users.
fn by_secret() -> Document {
    let is_place = |place: &str| equal("$place", place);
    let is_spendable = || any([is_place(SPENDABLE), is_place(BOTH)]);
    // Null is an _id as well, so that the extremes are of a document around it.
    let both_id = || choose(is_place(BOTH), doc! {"id": "$_id"}, nothing());
    doc! {
        "_id": "$proof.secret",
        "proofs": {"$sum": 1},
        SPENDABLE: {"$sum": one_if(is_place(SPENDABLE))},
        GONE: {"$sum": one_if(is_place(GONE))},
        BOTH: {"$sum": one_if(is_place(BOTH))},
        "first_both": {"$min": both_id()},
        "last_both": {"$max": both_id()},
        "spendable_amount": {"$sum": choose(is_spendable(), "$proof.amount", 0)},
        "largest": {"$max": choose(is_spendable(), "$proof.amount", nothing())},
        "users": {"$addToSet": "$user"},
    }
}

fn is_above(figure: &str, least: i32) -> Bson {
    doc! {"$gt": [figure, least]}.into()
}

/// A spendable proof stands in one document and a gone one in another. A document that is both is its own
/// other side only to further ones.
fn is_gone_elsewhere() -> Bson {
    any([
        all([is_above("$spendable", 0), any([is_above("$gone", 0), is_above("$both", 0)])]),
        all([is_above("$both", 0), is_above("$gone", 0)]),
        all([is_above("$both", 1), not(equal("$first_both", "$last_both"))]),
    ])
}

/// The sum of the phantom proofs of a double-counted secret, else null: all spendable ones when it is gone
/// elsewhere, all but the largest when it is only spendable twice.
fn phantom() -> Bson {
    let others = doc! {"$subtract": ["$spendable_amount", "$largest"]};
    let is_spendable_twice: Bson = doc! {"$gt": [{"$add": ["$spendable", "$both"]}, 1]}.into();
    choose(is_gone_elsewhere(), "$spendable_amount", choose(is_spendable_twice, others, nothing()))
}

/// What one of the secret's users adds to the figures.
fn votes() -> Document {
    let is_double_counted = || -> Bson { doc! {"$ne": ["$phantom", nothing()]}.into() };
    let is_first = || equal("$nth", 0_i64);
    let once = |class: Bson| one_if(all([is_first(), class]));
    let simple = || not(is_double_counted());
    let cross_user = || -> Bson { "$is_cross_user".into() };
    doc! {
        "user": "$users",
        FindingCode::DuplicateSecrets.as_str(): one_if(is_first()),
        BENIGN_COPY: once(all([simple(), not(cross_user())])),
        DOUBLE_COUNTED: once(is_double_counted()),
        CROSS_USER: once(all([simple(), cross_user()])),
        PHANTOM_AMOUNT: choose(is_first(), "$phantom", 0),
        OF_A_DUPLICATE: 1,
        OF_A_DOUBLE_COUNTED: one_if(is_double_counted()),
    }
}
