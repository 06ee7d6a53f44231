//! A story: a few documents that belong together, and the exact truth about them.
//!
//! A story shares no secret and no transaction id with any other, so what it says of itself holds in
//! the whole ledger. Only balances reach across stories; [`truth`](super::truth) sums those by user.

use super::token::{Proof, Secret, Token};

/// The class of a secret that several proofs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DuplicateClass {
    BenignCopy,
    DoubleCounted,
    CrossUser,
}

/// One secret that several proofs of a story have.
#[derive(Debug, Clone)]
pub(super) struct SharedSecret {
    pub(super) class: DuplicateClass,
    /// The phantom proofs' amounts; 0 unless double counted.
    pub(super) phantom: i128,
    /// The documents with a proof of it, by position in the story.
    pub(super) holders: Vec<usize>,
}

/// Documents that belong together.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    pub(super) tokens: Vec<Token>,
    pub(super) shared_secrets: Vec<SharedSecret>,
    /// Groups of documents with one transaction id, by position in the story.
    pub(super) shared_transaction_ids: Vec<Vec<usize>>,
}

impl Story {
    /// A story of documents that share nothing.
    pub(super) fn of(tokens: Vec<Token>) -> Story {
        Story { tokens, ..Story::default() }
    }

    /// Notes a secret that the documents `holders` share without counting money twice.
    pub(super) fn share(mut self, class: DuplicateClass, holders: &[usize]) -> Story {
        self.shared_secrets.push(SharedSecret { class, phantom: 0, holders: holders.to_vec() });
        self
    }

    /// Notes a secret that the documents `holders` count twice, with its phantom proofs' amounts.
    pub(super) fn double_count(mut self, phantom: i64, holders: &[usize]) -> Story {
        self.shared_secrets.push(SharedSecret {
            class: DuplicateClass::DoubleCounted,
            phantom: i128::from(phantom),
            holders: holders.to_vec(),
        });
        self
    }

    /// Notes that `holders` have one transaction id, which the first one's becomes.
    pub(super) fn share_transaction_id(mut self, holders: &[usize]) -> Story {
        if let Some(first) = holders.first() {
            let shared = self.tokens[*first].transaction_id.clone();
            for &holder in holders {
                self.tokens[holder].transaction_id = shared.clone();
            }
        }
        self.shared_transaction_ids.push(holders.to_vec());
        self
    }
}

/// A proof with the same secret as `original`: the same money written down again.
pub(super) fn copy_of(original: &Proof, id: [u8; 12]) -> Proof {
    Proof { id, ..original.clone() }
}

impl Proof {
    /// The same proof with another secret.
    pub(super) fn with_secret(mut self, secret: Secret) -> Proof {
        self.secret = secret;
        self
    }
}

/// Σ of what the proofs count.
pub(super) fn sum_of(proofs: &[Proof]) -> i64 {
    proofs.iter().map(|proof| proof.counted).sum()
}
