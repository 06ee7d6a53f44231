//! `malformed_npub`: the only step whose documents are not figures. The server names each distinct `npub`
//! once, with how many documents it has; the checksum is computed here, by the local engine's code.

use super::expression::{read, text};
use super::reading::text_bytes;
use crate::analysis::is_npub_malformed;
use crate::document::{Malformed, Value, find};
use mongodb::bson::{Document, doc};

/// One group for each `npub` that is text, and one for all documents without.
pub(super) fn pipeline() -> Vec<Document> {
    vec![
        read(doc! {"user": text("$npub")}),
        doc! {"$group": {"_id": "$user", "documents": {"$sum": 1}}},
    ]
}

/// What the groups add up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Npubs {
    /// Distinct users.
    pub(super) users: u64,
    /// Documents whose `npub` is malformed, and their users.
    pub(super) malformed_documents: u64,
    pub(super) malformed_users: u64,
}

impl Npubs {
    /// Takes one group.
    pub(super) fn take(&mut self, group: &[u8]) -> Result<(), Malformed> {
        let field = |name: &[u8]| Ok(find(group, name)?.map(|element| element.value));
        let npub = text_bytes(field(b"_id")?);
        let documents = field(b"documents")?.and_then(Value::as_amount).unwrap_or(0);
        let users = u64::from(npub.is_some());
        self.users += users;
        if is_npub_malformed(npub) {
            self.malformed_documents += u64::try_from(documents).unwrap_or(0);
            self.malformed_users += users;
        }
        Ok(())
    }
}
