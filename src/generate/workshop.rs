//! Where documents are made: the users who are active, the clock, the ids, the dice.
//!
//! Users come in cohorts. A cohort is active for a stretch of the ledger and never comes back, so what
//! is kept here is bounded by the cohort and not by the ledger.

use super::encode::{
    Datum, begin_document, begin_field, end_document, push_hex, put, put_hex, put_text,
};
use super::random::Random;
use super::story::sum_of;
use super::token::{FieldOrder, Proof, Proofs, Secret, Token, UserIndex, Word};
use super::truth::Standing;
use crate::document::ValueKind;
use crate::model::{Status, TransactionType};
use bech32::{Bech32, Hrp};
use std::borrow::Cow;

/// Human-readable part of a Nostr public key.
pub(super) const NPUB: Hrp = Hrp::parse_unchecked("npub");

const MINTS: [&str; 6] = [
    "https://mint.minibits.cash/Bitcoin",
    "https://mint.coinos.io",
    "https://21mint.me",
    "https://mint.example.com",
    "https://stablenut.cashu.network",
    "https://mint.lnvoltz.com",
];
const KEYSETS: [&str; 4] =
    ["009a1f293253e41e", "00ad268c4d1f5826", "00500550f0494146", "00c074b96c7e2b0e"];

/// Proof amounts are powers of two up to this one.
const AMOUNT_EXPONENT_MAX: u64 = 13;
/// A melt, or the spending of a token, comes at most this many steps after what it spends.
pub(super) const DELAY_STEPS_MAX: u64 = 2_000;
/// 2025-01-01, when every ledger begins.
const BEGIN_MS: i64 = 1_735_689_600_000;
/// How long a ledger lasts, whatever its size.
const SPAN_MS: u64 = 400 * 24 * 3600 * 1000;

/// A wallet, as its tokens need to know it.
#[derive(Debug, Clone)]
pub(super) struct Wallet {
    pub(super) id: Datum,
    pub(super) mint_url: Datum,
}

/// A user of the active cohort.
#[derive(Debug)]
pub(super) struct User {
    /// The `npub`'s bytes, which may be no UTF-8.
    pub(super) npub: Cow<'static, [u8]>,
    pub(super) wallets: Vec<Wallet>,
    /// What the truth knows of them.
    pub(super) standing: Standing,
}

/// Makes documents.
pub(super) struct Workshop {
    pub(super) random: Random,
    pub(super) users: Vec<User>,
    /// The first so many of `users` are ordinary; those after them belong to one story each.
    regulars: usize,
    /// Wallets made since they were last written, as BSON, and how many there were in all.
    pub(super) wallets_bson: Vec<u8>,
    pub(super) wallets_made: u64,
    /// Whether the service writes melts wrongly at this time.
    pub(super) bug_is_live: bool,
    pub(super) now_ms: i64,
    step_ms: u64,
    delay_steps: u64,
    machine: [u8; 5],
    serial: u64,
    number: i32,
}

impl Workshop {
    /// A workshop for a ledger of `tokens` documents.
    pub(super) fn new(seed: u64, tokens: u64) -> Workshop {
        let mut random = Random::new(seed);
        let machine = random.bytes();
        Workshop {
            random,
            users: Vec::new(),
            regulars: 0,
            wallets_bson: Vec::new(),
            wallets_made: 0,
            bug_is_live: false,
            now_ms: BEGIN_MS,
            step_ms: (SPAN_MS / tokens.max(1)).max(4),
            delay_steps: (tokens / 4).clamp(1, DELAY_STEPS_MAX),
            machine,
            serial: 0,
            number: 0,
        }
    }

    /// Sends the active users home and brings `regulars` new ones.
    pub(super) fn begin_cohort(&mut self, regulars: usize) -> Vec<User> {
        let retired = std::mem::take(&mut self.users);
        for _ in 0..regulars {
            self.fresh_user();
        }
        self.regulars = regulars;
        retired
    }

    /// Lets time pass between two stories.
    pub(super) fn step(&mut self) {
        let passed = self.random.between(self.step_ms / 2, self.step_ms + self.step_ms / 2);
        self.now_ms += ms(passed);
    }

    /// A time after now, within the longest delay.
    pub(super) fn later(&mut self) -> i64 {
        let steps = self.random.below(self.delay_steps);
        self.now_ms + ms(steps * self.step_ms) + ms(self.random.between(1, self.step_ms))
    }

    /// A number that no document has had.
    pub(super) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// As [`Workshop::serial`], for ids of type integer, of which there are few.
    pub(super) fn number(&mut self) -> i32 {
        self.number += 1;
        self.number
    }

    /// An object id made at `at_ms`.
    pub(super) fn object_id(&mut self, at_ms: i64) -> [u8; 12] {
        let mut id = [0; 12];
        let seconds = (at_ms / 1000).to_be_bytes();
        let serial = self.serial().to_be_bytes();
        id[..4].copy_from_slice(&seconds[4..]);
        id[4..9].copy_from_slice(&self.machine);
        id[9..].copy_from_slice(&serial[5..]);
        id
    }

    /// One of the ordinary users, some far likelier than others.
    pub(super) fn any_user(&mut self) -> UserIndex {
        self.random.skewed_index(self.regulars)
    }

    /// A new user with a valid key and one to three wallets, whom no other story knows yet.
    pub(super) fn fresh_user(&mut self) -> UserIndex {
        let npub = self.valid_npub();
        self.user_with_npub(npub)
    }

    /// The `npub` of a key at random.
    pub(super) fn valid_npub(&mut self) -> Vec<u8> {
        let key: [u8; 32] = self.random.bytes();
        // 32 bytes are within bech32's limit, so this can't fail.
        bech32::encode::<Bech32>(NPUB, &key).unwrap_or_default().into_bytes()
    }

    /// A new user who bears `npub`, with wallets that bear it too.
    pub(super) fn user_with_npub(&mut self, npub: impl Into<Vec<u8>>) -> UserIndex {
        let npub: Cow<'static, [u8]> = Cow::Owned(npub.into());
        let count = 1 + self.random.skewed_index(3);
        let first = self.random.skewed_index(MINTS.len());
        let wallets = (0..count)
            .map(|n| {
                let mint = Datum::text(MINTS[(first + n) % MINTS.len()]);
                let unit = if self.random.chance(5) { "msat" } else { "sat" };
                self.wallet(&Datum::Text(npub.clone()), mint, unit)
            })
            .collect();
        self.users.push(User { npub, wallets, standing: Standing::default() });
        self.users.len() - 1
    }

    /// A new wallet document.
    pub(super) fn wallet(&mut self, npub: &Datum, mint_url: Datum, unit: &str) -> Wallet {
        let id = Datum::ObjectId(self.object_id(self.now_ms));
        self.wallet_with_id(id, npub, mint_url, unit)
    }

    /// A new wallet document with an `_id` of any type.
    pub(super) fn wallet_with_id(
        &mut self,
        id: Datum,
        npub: &Datum,
        mint_url: Datum,
        unit: &str,
    ) -> Wallet {
        let (public, private): ([u8; 32], [u8; 32]) = (self.random.bytes(), self.random.bytes());
        let out = &mut self.wallets_bson;
        let start = begin_document(out);
        put(out, "_id", &id);
        put(out, "npub", npub);
        put(out, "mint_url", &mint_url);
        put_hex(out, "p2pk_pubkey", "02", &public);
        put_hex(out, "p2pk_privkey", "", &private);
        let config = begin_field(out, ValueKind::Document, "wallet_config");
        put_text(out, "unit", unit.as_bytes());
        put_text(out, "created_via", b"api");
        end_document(out, config);
        put(out, "createdAt", &Datum::Date(self.now_ms));
        put(out, "updatedAt", &Datum::Date(self.now_ms));
        put(out, "__v", &Datum::Int32(0));
        end_document(out, start);
        self.wallets_made += 1;
        Wallet { id, mint_url }
    }

    /// One of the user's wallets.
    pub(super) fn wallet_of(&mut self, owner: UserIndex) -> Wallet {
        let position = self.random.skewed_index(self.users[owner].wallets.len());
        self.users[owner].wallets[position].clone()
    }

    /// A proof of `amount` that no other document has.
    pub(super) fn proof_of(&mut self, amount: i64) -> Proof {
        Proof {
            keyset: self.random.pick(&KEYSETS),
            amount: Datum::integer(amount),
            counted: amount,
            secret: Secret::Hex(self.random.bytes()),
            signature: self.random.bytes(),
            id: self.object_id(self.now_ms),
            extra: Vec::new(),
        }
    }

    /// A proof of a power of two.
    pub(super) fn proof(&mut self) -> Proof {
        let amount = 1 << self.random.between(0, AMOUNT_EXPONENT_MAX);
        self.proof_of(amount)
    }

    /// So many proofs.
    pub(super) fn proofs(&mut self, count: u64) -> Vec<Proof> {
        (0..count).map(|_| self.proof()).collect()
    }

    /// As many proofs as tokens usually have: 1 to 7.
    pub(super) fn usual_proofs(&mut self) -> Vec<Proof> {
        let count = self.random.between(1, 7);
        self.proofs(count)
    }

    /// Proofs of powers of two that sum to `total`.
    pub(super) fn change_proofs(&mut self, total: i64) -> Vec<Proof> {
        (0..62)
            .map(|bit| 1_i64 << bit)
            .filter(|amount| total & amount != 0)
            .map(|amount| self.proof_of(amount))
            .collect()
    }

    /// A healthy document of `owner` in one of their wallets, made now.
    pub(super) fn token(
        &mut self,
        owner: UserIndex,
        transaction_type: TransactionType,
        status: Status,
        proofs: Vec<Proof>,
    ) -> Token {
        let wallet = self.wallet_of(owner);
        self.token_in(&wallet, owner, transaction_type, status, proofs)
    }

    /// A healthy document in `wallet`, which is `owner`'s, made now.
    pub(super) fn token_in(
        &mut self,
        wallet: &Wallet,
        owner: UserIndex,
        transaction_type: TransactionType,
        status: Status,
        proofs: Vec<Proof>,
    ) -> Token {
        let counted = sum_of(&proofs);
        let (at, id) = (self.now_ms, self.object_id(self.now_ms));
        let spent_at = match status {
            Status::Spent => Datum::Date(at + 1),
            // Documents written before the schema had the field.
            _ if self.random.chance(1) => Datum::Absent,
            _ => Datum::Null,
        };
        Token {
            owner: Some(owner),
            id: Datum::ObjectId(id),
            npub: Datum::Text(self.users[owner].npub.clone()),
            wallet_id: wallet.id.clone(),
            proofs: Proofs::List(proofs),
            mint_url: wallet.mint_url.clone(),
            total_amount: Datum::integer(counted),
            counted,
            status: Word::Known(status),
            transaction_type: Word::Known(transaction_type),
            transaction_id: self.transaction_id(transaction_type),
            metadata: self.usual_metadata(transaction_type),
            spent_at,
            created_ms: at,
            updated_at: Datum::Date(at + 1),
            version: Datum::Int32(0),
            extra: Vec::new(),
            order: FieldOrder::Mongoose,
            marks: Vec::new(),
            orphan: None,
        }
    }

    /// Moves a document to another time; a spent one is spent at once.
    pub(super) fn at(&mut self, mut token: Token, at_ms: i64) -> Token {
        token.created_ms = at_ms;
        token.id = Datum::ObjectId(self.object_id(at_ms));
        self.spent_on(token, at_ms + 1)
    }

    /// Sets the time of a document's last change; of its spending when it is spent.
    pub(super) fn spent_on(&mut self, mut token: Token, at_ms: i64) -> Token {
        token.updated_at = Datum::Date(at_ms);
        if token.status == Word::Known(Status::Spent) {
            token.spent_at = Datum::Date(at_ms);
        }
        token
    }

    fn transaction_id(&mut self, transaction_type: TransactionType) -> Datum {
        let tag: [u8; 4] = self.random.bytes();
        let mut text = format!("tx_{}_{}_", transaction_type.as_str(), self.serial()).into_bytes();
        push_hex(&mut text, &tag);
        Datum::owned(text)
    }

    /// The id of a quote at a mint.
    pub(super) fn quote_id(&mut self) -> Datum {
        let mut text = b"q".to_vec();
        push_hex(&mut text, &self.random.bytes::<10>());
        Datum::owned(text)
    }

    fn usual_metadata(&mut self, transaction_type: TransactionType) -> Datum {
        let source = match transaction_type {
            TransactionType::Received | TransactionType::Sent => "p2p",
            TransactionType::Minted | TransactionType::Melted => "lightning",
            TransactionType::Change => "change",
        };
        Datum::Fields(vec![("source", Datum::text(source)), ("quote_id", self.quote_id())])
    }
}

/// Milliseconds as dates have them; the generator's are far below the limit.
fn ms(passed: u64) -> i64 {
    i64::try_from(passed).unwrap_or(i64::MAX)
}
