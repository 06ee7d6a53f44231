//! `orphaned_tokens` and `wallet_mismatch`: tokens and wallets grouped by the wallet's `_id`, and the size
//! of the wallets' collection.
//!
//! A `$unionWith` and a `$group` instead of a `$lookup`: it costs the same on every form of cluster, and
//! compares identifiers by type and bytes.

use super::expression::{
    all, any, choose, equal, identity, is, is_absent, is_some, not, nothing, read, text,
};
use super::figures::sums_and_users;
use crate::model::FindingCode;
use mongodb::bson::{Bson, Document, doc};

pub(super) const MISSING_WALLET_ID: &str = "missing_wallet_id";
pub(super) const DANGLING_WALLET_ID: &str = "dangling_wallet_id";

/// The pipeline on the tokens; `wallets` is the wallets' collection, `None` when there is none.
pub(super) fn pipeline(wallets: Option<&str>) -> Vec<Document> {
    let mut stages = vec![
        read(doc! {
            "id": choose(is_absent("$wallet_id"), nothing(), identity("$wallet_id")),
            "npub": identity("$npub"),
            "mint": identity("$mint_url"),
        }),
        doc! {"$group": {
            "_id": {"id": "$id", "npub": "$npub", "mint": "$mint"}, "documents": {"$sum": 1},
        }},
        doc! {"$replaceWith": {
            // Tokens without a wallet_id meet no wallet, so they need not meet each other.
            "id": choose(is_some("$_id.id"), "$_id.id", doc! {"none": "$_id"}),
            "held": {"npub": "$_id.npub", "mint": "$_id.mint", "documents": "$documents",
                     "is_missing": equal("$_id.id", nothing())},
        }},
    ];
    if let Some(wallets) = wallets {
        let each = read(doc! {
            "id": identity("$_id"),
            "wallet": {"npub": identity("$npub"), "mint": identity("$mint_url")},
        });
        stages.push(doc! {"$unionWith": {"coll": wallets, "pipeline": [each]}});
    }
    stages.extend([
        // The wallet is one at most, as _id is unique.
        doc! {"$group": {
            "_id": "$id", "wallet": {"$max": "$wallet"}, "held": {"$push": "$held"},
        }},
        doc! {"$unwind": "$held"},
        doc! {"$replaceWith": votes()},
    ]);
    let codes = [FindingCode::OrphanedTokens, FindingCode::WalletMismatch];
    let [orphaned, mismatch] = codes.map(FindingCode::as_str);
    stages.extend(sums_and_users(&[orphaned, mismatch, MISSING_WALLET_ID, DANGLING_WALLET_ID]));
    if wallets.is_none() {
        // What dangles can't be told; orphaned are then those without a wallet_id.
        let set = doc! {
            orphaned: format!("${MISSING_WALLET_ID}"),
            format!("{orphaned}_users"): format!("${MISSING_WALLET_ID}_users"),
        };
        stages.push(doc! {"$set": set});
    }
    stages
}

/// What the documents of one `npub` and mint that name one wallet add to the figures.
fn votes() -> Document {
    let is_missing = || -> Bson { "$held.is_missing".into() };
    let has_wallet = || is("$wallet", "object");
    let differs = |name: &str| -> Bson {
        doc! {"$ne": [format!("$held.{name}"), format!("$wallet.{name}")]}.into()
    };
    let is_mismatched = all([has_wallet(), any([differs("npub"), differs("mint")])]);
    let documents_if = |condition: Bson| choose(condition, "$held.documents", 0);
    doc! {
        "user": text("$held.npub"),
        FindingCode::OrphanedTokens.as_str(): documents_if(not(has_wallet())),
        FindingCode::WalletMismatch.as_str(): documents_if(is_mismatched),
        MISSING_WALLET_ID: documents_if(is_missing()),
        DANGLING_WALLET_ID: documents_if(all([not(has_wallet()), not(is_missing())])),
    }
}

pub(super) const WALLETS: &str = "wallets";
pub(super) const BYTES: &str = "bytes";

/// The pipeline on the wallets: how many, and how large.
pub(super) fn size_pipeline() -> Vec<Document> {
    let bytes = doc! {"$sum": {"$bsonSize": "$$ROOT"}};
    vec![doc! {"$group": {"_id": Bson::Null, WALLETS: {"$sum": 1}, BYTES: bytes}}]
}
