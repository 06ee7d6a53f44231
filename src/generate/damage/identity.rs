//! `malformed_npub`, `orphaned_tokens`, `wallet_mismatch`.

use super::super::encode::Datum;
use super::super::healthy::melt;
use super::super::story::Story;
use super::super::token::{Orphan, Token};
use super::super::workshop::{NPUB, Workshop};
use super::{Case, held, held_by};
use crate::model::{FindingCode, Status};
use bech32::{Bech32, Bech32m, Hrp};

pub(super) const CASES: &[Case] = &[
    // Users whose name is no npub.
    |w| malformed(w, |w| upper_case(&w.valid_npub())),
    |w| malformed(w, bad_checksum),
    |w| malformed(w, |w| w.valid_npub()[..40].to_vec()),
    |w| malformed(w, |w| format!("anonymous-{}", w.serial()).into_bytes()),
    |w| malformed(w, |w| encoded::<Bech32>(w, Hrp::parse_unchecked("nsec"))),
    |w| malformed(w, |w| encoded::<Bech32m>(w, NPUB)),
    |w| malformed(w, mixed_case),
    |w| malformed(w, |w| [w.valid_npub(), b" ".to_vec()].concat()),
    |w| malformed(w, |w| [b"npub1\xff\xfe".to_vec(), w.serial().to_string().into_bytes()].concat()),
    melt_of_malformed,
    // A valid checksum over another length is well-formed by the definition.
    |w| {
        let npub = encoded_key(&w.random.bytes::<20>());
        let user = w.user_with_npub(npub);
        Story::of(vec![held_by(w, user, Status::Unspent)])
    },
    // Nobody's documents.
    |w| nobodys(w, &Datum::Absent),
    |w| nobodys(w, &Datum::Null),
    |w| nobodys(w, &Datum::Int32(1)),
    nobodys_melt,
    nobodys_wallet_too,
    // No wallet.
    |w| orphan(w, |_, _| Datum::Absent, Orphan::MissingWalletId),
    |w| orphan(w, |_, _| Datum::Null, Orphan::MissingWalletId),
    |w| orphan(w, |w, _| Datum::ObjectId(w.object_id(w.now_ms)), Orphan::DanglingWalletId),
    |w| orphan(w, |w, _| Datum::owned(w.serial().to_string()), Orphan::DanglingWalletId),
    |w| orphan(w, |_, token| as_text(&token.wallet_id), Orphan::DanglingWalletId),
    orphaned_melt,
    wallet_of_another_number_type,
    // Another's wallet.
    |w| mismatch(w, Odd::Npub),
    |w| mismatch(w, Odd::Mint),
    |w| mismatch(w, Odd::Both),
    |w| mismatch(w, Odd::MintAbsent),
    wallet_without_mint,
    both_without_mint,
    wallet_without_npub,
];

fn upper_case(npub: &[u8]) -> Vec<u8> {
    npub.to_ascii_uppercase()
}

fn mixed_case(workshop: &mut Workshop) -> Vec<u8> {
    let npub = workshop.valid_npub();
    [&npub[..5], &npub[5..].to_ascii_uppercase()].concat()
}

fn bad_checksum(workshop: &mut Workshop) -> Vec<u8> {
    let mut npub = workshop.valid_npub();
    // Any other letter of the alphabet breaks a checksum that finds every single error.
    if let Some(last) = npub.last_mut() {
        *last = if *last == b'q' { b'p' } else { b'q' };
    }
    npub
}

fn encoded<C: bech32::Checksum>(workshop: &mut Workshop, prefix: Hrp) -> Vec<u8> {
    let key: [u8; 32] = workshop.random.bytes();
    bech32::encode::<C>(prefix, &key).unwrap_or_default().into_bytes()
}

fn encoded_key(key: &[u8]) -> Vec<u8> {
    bech32::encode::<Bech32>(NPUB, key).unwrap_or_default().into_bytes()
}

/// A new user whose `npub` is malformed, with two documents: two findings, one user.
fn malformed(workshop: &mut Workshop, npub: fn(&mut Workshop) -> Vec<u8>) -> Story {
    let npub = npub(workshop);
    let user = workshop.user_with_npub(npub);
    let mut tokens = Vec::new();
    for status in [Status::Unspent, Status::Spent] {
        let mut token = held_by(workshop, user, status);
        token.mark(FindingCode::MalformedNpub);
        tokens.push(token);
    }
    Story::of(tokens)
}

/// A user with a malformed `npub` is a user, and repaired like any other.
fn melt_of_malformed(workshop: &mut Workshop) -> Story {
    let name = format!("ledger \"user\"\n{}", workshop.serial());
    let user = workshop.user_with_npub(name);
    let mut story = melt(workshop, user, Status::Unspent);
    story.tokens.iter_mut().for_each(|token| token.mark(FindingCode::MalformedNpub));
    story
}

/// Takes the user from a document; its wallet keeps its own.
fn make_nobodys(token: &mut Token, npub: &Datum) {
    token.owner = None;
    token.npub = npub.clone();
    token.mark(FindingCode::MalformedNpub);
    token.mark(FindingCode::WalletMismatch);
}

fn nobodys(workshop: &mut Workshop, npub: &Datum) -> Story {
    let mut token = held(workshop);
    make_nobodys(&mut token, npub);
    Story::of(vec![token])
}

/// It is repaired and counted, but as no user's.
fn nobodys_melt(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    let mut story = melt(workshop, user, Status::Unspent);
    story.tokens.iter_mut().for_each(|token| make_nobodys(token, &Datum::Absent));
    story
}

/// Neither the document nor its wallet has an `npub`: no mismatch.
fn nobodys_wallet_too(workshop: &mut Workshop) -> Story {
    let mint = Datum::owned(format!("https://mint-{}.example.com", workshop.serial()));
    let wallet = workshop.wallet(&Datum::Absent, mint, "sat");
    let user = workshop.any_user();
    let mut token = held_by(workshop, user, Status::Unspent);
    token.owner = None;
    token.npub = Datum::Absent;
    token.wallet_id = wallet.id;
    token.mint_url = wallet.mint_url;
    token.mark(FindingCode::MalformedNpub);
    Story::of(vec![token])
}

fn orphan(
    workshop: &mut Workshop,
    wallet_id: fn(&mut Workshop, &Token) -> Datum,
    class: Orphan,
) -> Story {
    let mut token = held(workshop);
    let wallet_id = wallet_id(workshop, &token);
    token.make_orphan(wallet_id, class);
    Story::of(vec![token])
}

/// An object id written as text, which is another value.
fn as_text(id: &Datum) -> Datum {
    let Datum::ObjectId(bytes) = id else {
        return Datum::text("no object id");
    };
    let mut text = Vec::new();
    super::super::encode::push_hex(&mut text, bytes);
    Datum::owned(text)
}

fn orphaned_melt(workshop: &mut Workshop) -> Story {
    let user = workshop.any_user();
    let mut story = melt(workshop, user, Status::Unspent);
    for token in &mut story.tokens {
        token.make_orphan(Datum::Absent, Orphan::MissingWalletId);
    }
    story
}

/// A wallet with an integer for an id: one document has it, another has it in a wider type.
fn wallet_of_another_number_type(workshop: &mut Workshop) -> Story {
    let user = workshop.fresh_user();
    let number = workshop.number();
    let npub = Datum::Text(workshop.users[user].npub.clone());
    let mint = Datum::text("https://numbered.example.org");
    let wallet = workshop.wallet_with_id(Datum::Int32(number), &npub, mint, "sat");
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let mut token = held_by(workshop, user, Status::Unspent);
        token.wallet_id = wallet.id.clone();
        token.mint_url = wallet.mint_url.clone();
        tokens.push(token);
    }
    let wider = Datum::Int64(i64::from(number));
    tokens[1].make_orphan(wider, Orphan::DanglingWalletId);
    Story::of(tokens)
}

/// In what a document differs from its wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Odd {
    Npub,
    Mint,
    Both,
    MintAbsent,
}

fn mismatch(workshop: &mut Workshop, odd: Odd) -> Story {
    let user = workshop.any_user();
    let mut token = held_by(workshop, user, Status::Unspent);
    if matches!(odd, Odd::Npub | Odd::Both) {
        let other = workshop.fresh_user();
        let wallet = workshop.wallet_of(other);
        token.wallet_id = wallet.id;
        token.mint_url = wallet.mint_url;
    }
    match odd {
        Odd::Npub => {}
        // As equal as two addresses can be without being the same text.
        Odd::Mint | Odd::Both => {
            let mint = [token.mint_url.text_bytes(), b"/"].concat();
            token.mint_url = Datum::owned(mint);
        }
        Odd::MintAbsent => token.mint_url = Datum::Absent,
    }
    token.mark(FindingCode::WalletMismatch);
    Story::of(vec![token])
}

/// A new user with a wallet that lacks its mint, and a document in it.
fn in_mintless_wallet(workshop: &mut Workshop) -> Token {
    let user = workshop.fresh_user();
    let npub = Datum::Text(workshop.users[user].npub.clone());
    let wallet = workshop.wallet(&npub, Datum::Absent, "sat");
    let mut token = held_by(workshop, user, Status::Unspent);
    token.wallet_id = wallet.id;
    token
}

fn wallet_without_mint(workshop: &mut Workshop) -> Story {
    let mut token = in_mintless_wallet(workshop);
    token.mark(FindingCode::WalletMismatch);
    Story::of(vec![token])
}

/// Absent on both sides is no difference.
fn both_without_mint(workshop: &mut Workshop) -> Story {
    let mut token = in_mintless_wallet(workshop);
    token.mint_url = Datum::Absent;
    Story::of(vec![token])
}

fn wallet_without_npub(workshop: &mut Workshop) -> Story {
    let mint = Datum::owned(format!("https://mint-{}.example.com", workshop.serial()));
    let wallet = workshop.wallet(&Datum::Absent, mint, "sat");
    let mut token = held(workshop);
    token.wallet_id = wallet.id;
    token.mint_url = wallet.mint_url;
    token.mark(FindingCode::WalletMismatch);
    Story::of(vec![token])
}
