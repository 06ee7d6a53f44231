//! The findings that one document shows by itself, what the rule would change, and the balances: one pass
//! over the tokens.
//!
//! Each document becomes its facts (`facts`), each finding is a condition on them (`findings`), and they
//! are summed by user and mint, which gives the balances, then by user, then in all.

use super::expression::{
    all, amount, any, below_zero, choose, equal, inside, is, is_absent, is_some, not, nothing,
    one_if, read, text,
};
use super::figures::sums_and_users;
use crate::analysis::{STORED_BYTES_MAX, SpentAt, UNDONE_BYTES_MAX};
use crate::model::{FindingCode, Status, TransactionType};
use mongodb::bson::{Bson, Document, doc};

/// Figures that no finding has the name of.
pub(super) const TOKENS: &str = "tokens";
pub(super) const BYTES: &str = "bytes";
pub(super) const MELTED: &str = "melted";
pub(super) const SPENT_MELTED: &str = "spent_melted";
pub(super) const CHANGES: &str = "changes";
pub(super) const CHANGED_AMOUNT: &str = "changed_amount";
pub(super) const INCONSISTENT_AMOUNT: &str = "inconsistent_amount";
pub(super) const MISMATCH_AMOUNT: &str = "mismatch_amount";
pub(super) const NEGATIVE_AMOUNT: &str = "negative_amount";

/// Reasons of the rule to leave a document as it is, by their words in reports.
pub(super) const NOT_CHANGED: [&str; 3] = ["duplicate_field", "no_own_time", "no_room"];
const NOT_CHANGED_PREFIX: &str = "not_changed_";

/// The figure of a reason.
pub(super) fn not_changed(reason: &str) -> String {
    format!("{NOT_CHANGED_PREFIX}{reason}")
}

/// The pipeline; `spent_at` is where the rule takes the time from.
pub(super) fn pipeline(spent_at: SpentAt) -> Vec<Document> {
    let figures = figures();
    let mut by_position = doc! {"_id": {"user": "$user", "mint": "$mint"}};
    for (name, each) in &figures {
        by_position.insert(name, doc! {"$sum": each.clone()});
    }
    for status in Status::ALL {
        let own = choose(has_status(*status), "$amount", nothing());
        by_position.insert(status.as_str(), doc! {"$sum": own});
    }
    let names: Vec<&str> = figures.iter().map(|(name, _)| name.as_str()).collect();
    let mut by_mint = doc! {"user": "$_id.user"};
    names.iter().for_each(|name| drop(by_mint.insert(*name, format!("${name}"))));
    let below = negative_balance();
    by_mint.insert(FindingCode::NegativeBalance.as_str(), one_if(below_zero_sum(&below)));
    by_mint.insert(NEGATIVE_AMOUNT, below);
    let all_names = [&names[..], &[FindingCode::NegativeBalance.as_str(), NEGATIVE_AMOUNT]];
    let mut stages = vec![
        read(facts()),
        doc! {"$set": {"left": left_as_it_is(spent_at)}},
        doc! {"$group": by_position},
        doc! {"$replaceWith": by_mint},
    ];
    stages.extend(sums_and_users(&all_names.concat()));
    stages
}

/// What the conditions need of a document. Of text, an amount and the like null says that it is none.
fn facts() -> Document {
    doc! {
        "user": text("$npub"),
        "mint": choose(is("$mint_url", "string"), "$mint_url", ""),
        "status": text("$status"),
        "type": text("$transaction_type"),
        "amount": amount("$total_amount"),
        "proofs": proof_amounts(),
        "source": inside("$metadata", "source"),
        "spent_at": one("$spent_at"),
        "created_at": is("$createdAt", "date"),
        "updated_at": one("$updatedAt"),
        "own_id": one("$_id"),
        "bytes": {"$bsonSize": "$$ROOT"},
        "has_field_twice": has_field_twice(),
    }
}

/// Type and size of `_id` or of a field that the rule changes: `{type, bytes}`, without the value.
fn one(field: &str) -> Bson {
    /// A document of 5 bytes around the type and a name of one character with its end.
    const AROUND: i32 = 5 + 1 + 2;
    let measured = doc! {"$subtract": [{"$bsonSize": {"v": field}}, AROUND]};
    let empty = doc! {"$in": [{"$type": field}, ["missing", "null", "undefined"]]};
    doc! {"type": {"$type": field}, "bytes": choose(empty.into(), 0, measured)}.into()
}

/// The amount of each proof, null where it is none; entries that are no documents are no proofs.
fn proof_amounts() -> Bson {
    let proofs = doc! {"$filter": {
        "input": "$proofs", "as": "proof", "cond": is("$$proof", "object"),
    }};
    let amounts = doc! {"$map": {"input": proofs, "as": "proof", "in": amount("$$proof.amount")}};
    choose(is("$proofs", "array"), amounts, Bson::Array(Vec::new()))
}

/// Whether a field that the rule changes occurs more than once. The server reads the first of them
/// everywhere, and lists them all here.
fn has_field_twice() -> Bson {
    let times = |name: &str| -> Bson {
        let same = equal("$$field.k", name);
        let found = doc! {"$filter": {"input": "$$fields", "as": "field", "cond": same}};
        doc! {"$gt": [{"$size": found}, 1]}.into()
    };
    let watched = doc! {"$in": ["$$field.k", ["status", "spent_at", "updatedAt"]]};
    let fields = doc! {"$filter": {
        "input": {"$objectToArray": "$$ROOT"}, "as": "field", "cond": watched,
    }};
    let any_twice = any([times("status"), times("spent_at"), times("updatedAt")]);
    // Three at most are there when none is there twice, which is to be cheap.
    doc! {"$let": {"vars": {"fields": fields}, "in": any_twice}}.into()
}

fn has_status(status: Status) -> Bson {
    equal("$status", status.as_str())
}

fn has_type(kind: TransactionType) -> Bson {
    equal("$type", kind.as_str())
}

/// Melted and unspent: the rule's shape, and the finding `inconsistent_status`.
fn is_of_the_rule() -> Bson {
    all([has_type(TransactionType::Melted), has_status(Status::Unspent)])
}

/// Why a document of the rule's shape is left as it is: one of [`NOT_CHANGED`], or null.
fn left_as_it_is(spent_at: SpentAt) -> Bson {
    let has_own_time: Bson = match spent_at {
        SpentAt::Repair => true.into(),
        SpentAt::Created => "$created_at".into(),
        SpentAt::Updated => equal("$updated_at.type", "date"),
    };
    let [twice, no_own_time, no_room] = NOT_CHANGED;
    choose(
        is_of_the_rule(),
        doc! {"$switch": {
            "branches": [
                {"case": "$has_field_twice", "then": twice},
                {"case": not(has_own_time), "then": no_own_time},
                {"case": has_no_room(), "then": no_room},
            ],
            "default": nothing(),
        }},
        nothing(),
    )
}

/// Whether the document would be larger than the server stores after the repair, or its undo image would be: `unspent`
/// becomes `spent`, `spent_at` a date, whether it was there or not, and `updatedAt` one where it was there.
fn has_no_room() -> Bson {
    const DATE: i32 = 8;
    const NEW_SPENT_AT: i32 = 1 + 9 + DATE; // type, name, value
    const UNSPENT_TO_SPENT: i32 = -2;
    let replaced = |fact: &str, absent: i32| {
        let grown = doc! {"$subtract": [DATE, format!("{fact}.bytes")]};
        choose(equal(format!("{fact}.type"), "missing"), absent, grown)
    };
    let parts = [
        "$bytes".into(),
        UNSPENT_TO_SPENT.into(),
        replaced("$spent_at", NEW_SPENT_AT),
        replaced("$updated_at", 0),
    ];
    let undone = ["$own_id.bytes", "$spent_at.bytes", "$updated_at.bytes"].map(Bson::from);
    let is_above = |parts: &[Bson], most| -> Bson {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        doc! {"$gt": [{"$add": parts.to_vec()}, most]}.into()
    };
    any([is_above(&parts, STORED_BYTES_MAX), is_above(&undone, UNDONE_BYTES_MAX)])
}

/// Every figure and what a document adds to it.
fn figures() -> Vec<(String, Bson)> {
    let melted = || has_type(TransactionType::Melted);
    let is_changed = || all([is_of_the_rule(), equal("$left", nothing())]);
    let mut figures: Vec<(String, Bson)> = findings()
        .into_iter()
        .map(|(code, condition)| (code.as_str().to_owned(), one_if(condition)))
        .collect();
    let mut add = |name: &str, each: Bson| figures.push((name.to_owned(), each));
    add(TOKENS, 1.into());
    add(BYTES, "$bytes".into());
    add(MELTED, one_if(melted()));
    add(SPENT_MELTED, one_if(all([melted(), has_status(Status::Spent)])));
    add(CHANGES, one_if(is_changed()));
    add(CHANGED_AMOUNT, choose(is_changed(), "$amount", nothing()));
    add(INCONSISTENT_AMOUNT, choose(is_of_the_rule(), "$amount", nothing()));
    add(MISMATCH_AMOUNT, choose(is_mismatched(), doc! {"$abs": difference()}, nothing()));
    for reason in NOT_CHANGED {
        add(&not_changed(reason), one_if(equal("$left", reason)));
    }
    figures
}

/// The findings that are counted once a document, in the words of `docs/findings.md`.
fn findings() -> [(FindingCode, Bson); 7] {
    [
        (FindingCode::InconsistentStatus, is_of_the_rule()),
        (FindingCode::InvalidAmounts, any([not(is_some("$amount")), below_zero("$amount")])),
        (FindingCode::MissingMetadata, is_absent("$source")),
        (FindingCode::AmountMismatch, is_mismatched()),
        (FindingCode::SpentAtMismatch, is_spent_at_mismatched()),
        (FindingCode::UnknownStatus, has_unknown_word()),
        (FindingCode::DuplicateField, "$has_field_twice".into()),
    ]
}

/// `total_amount` − Σ of the proofs' amounts.
fn difference() -> Bson {
    doc! {"$subtract": ["$amount", {"$sum": "$proofs"}]}.into()
}

/// `total_amount` is an amount, not below zero, and not the sum of the proofs' amounts; a pending document
/// without any proof is exempt.
fn is_mismatched() -> Bson {
    let no_proofs = equal("$proofs", Bson::Array(Vec::new()));
    all([
        is_some("$amount"),
        not(below_zero("$amount")),
        not(all([has_status(Status::Pending), no_proofs])),
        doc! {"$ne": [difference(), 0]}.into(),
    ])
}

/// Spent and `spent_at` no date, or a date and anything else.
fn is_spent_at_mismatched() -> Bson {
    doc! {"$ne": [has_status(Status::Spent), equal("$spent_at.type", "date")]}.into()
}

/// `status` or `transaction_type` is none of the known words.
fn has_unknown_word() -> Bson {
    let statuses: Vec<&str> = Status::ALL.iter().map(|word| word.as_str()).collect();
    let types: Vec<&str> = TransactionType::ALL.iter().map(|word| word.as_str()).collect();
    any([
        not(doc! {"$in": ["$status", statuses]}.into()),
        not(doc! {"$in": ["$type", types]}.into()),
    ])
}

/// The sum of a user's balances at a mint that are below zero; 0 for documents of no user.
fn negative_balance() -> Bson {
    let below: Vec<Bson> = Status::ALL
        .iter()
        .map(|status| doc! {"$min": [format!("${}", status.as_str()), 0]}.into())
        .collect();
    choose(equal("$_id.user", nothing()), 0, doc! {"$add": below})
}

fn below_zero_sum(sum: &Bson) -> Bson {
    doc! {"$lt": [sum.clone(), 0]}.into()
}
