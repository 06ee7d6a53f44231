//! Odd and legal: nothing here is a finding, and all of it must survive a repair byte for byte.

use super::super::encode::Datum;
use super::super::story::Story;
use super::super::token::{FieldOrder, Proofs, Token};
use super::super::workshop::Workshop;
use super::{Case, held_by, lone_melt};
use crate::model::Status;

pub(super) const CASES: &[Case] = &[
    |w| {
        odd(w, |_, token| {
            token.extra.push(("memo", Datum::text("coffee ☕")));
        })
    },
    |w| {
        odd(w, |_, token| {
            token.extra.push(("clusterTime", Datum::Timestamp(0)));
        })
    },
    |w| {
        odd(w, |_, token| {
            token.extra.push(("$set", Datum::Fields(DOLLARS.to_vec())));
        })
    },
    |w| {
        odd(w, |_, token| {
            token.extra.push(("a.dotted.name", Datum::MinKey));
        })
    },
    |w| odd(w, |_, token| token.extra.push(("", Datum::Boolean(false)))),
    |w| {
        odd(w, |_, token| {
            token.extra.push(("memo", Datum::owned(b"\xff\xfe\x00\x80".to_vec())));
        })
    },
    |w| odd(w, |_, token| token.extra.push(("deep", nested(40)))),
    |w| odd(w, |_, token| token.order = FieldOrder::Reversed),
    |w| odd(w, |_, token| token.version = Datum::Absent),
    |w| odd(w, |_, token| token.updated_at = Datum::Absent),
    |w| odd(w, |w, token| token.id = Datum::Int32(w.number())),
    |w| {
        odd(w, |w, token| {
            token.id = Datum::Int64(i64::from(w.number()) << 32);
        })
    },
    |w| {
        odd(w, |w, token| {
            token.id = Datum::owned(format!("token-{}", w.number()));
        })
    },
    |w| {
        odd(w, |w, token| {
            token.id = Datum::Fields(vec![("n", Datum::Int32(w.number()))]);
        })
    },
    |w| {
        odd(w, |_, token| {
            token.set_metadata("total_amount", Datum::Double(f64::NAN));
        })
    },
    |w| {
        odd(w, |_, token| {
            add_to_proofs(token, "witness", &Datum::text("{\"signatures\":[]}"));
        })
    },
    |w| {
        odd(w, |_, token| {
            add_to_proofs(token, "dleq", &Datum::Fields(DLEQ.to_vec()));
        })
    },
    msat_wallet,
    wallet_with_text_id,
];

const DOLLARS: [(&str, Datum); 2] = [("$inc", Datum::Int32(1)), ("$where", Datum::Null)];
const DLEQ: [(&str, Datum); 3] =
    [("e", Datum::Int64(1)), ("s", Datum::Int64(2)), ("r", Datum::Double(0.5))];

/// A document that was melted wrongly, so the oddity has to survive its repair.
fn odd(workshop: &mut Workshop, change: fn(&mut Workshop, &mut Token)) -> Story {
    let mut melted = lone_melt(workshop);
    change(workshop, &mut melted);
    Story::of(vec![melted])
}

/// Documents in documents, so many levels.
fn nested(levels: u32) -> Datum {
    (0..levels).fold(Datum::Null, |inner, _| Datum::Fields(vec![("in", inner)]))
}

fn add_to_proofs(token: &mut Token, name: &'static str, datum: &Datum) {
    if let Proofs::List(proofs) = &mut token.proofs {
        for proof in proofs {
            proof.extra.push((name, datum.clone()));
        }
    }
}

/// A wallet that counts in thousandths, and a document in it.
fn msat_wallet(workshop: &mut Workshop) -> Story {
    let mint = Datum::owned(format!("https://msat-{}.example.org", workshop.serial()));
    in_new_wallet(workshop, None, mint, "msat")
}

/// A wallet whose `_id` is text, and a document in it.
fn wallet_with_text_id(workshop: &mut Workshop) -> Story {
    let id = Datum::owned(format!("wallet-{}", workshop.number()));
    in_new_wallet(workshop, Some(id), Datum::text("https://named.example.org"), "sat")
}

fn in_new_wallet(workshop: &mut Workshop, id: Option<Datum>, mint_url: Datum, unit: &str) -> Story {
    let user = workshop.fresh_user();
    let npub = Datum::Text(workshop.users[user].npub.clone());
    let wallet = match id {
        Some(id) => workshop.wallet_with_id(id, &npub, mint_url, unit),
        None => workshop.wallet(&npub, mint_url, unit),
    };
    let mut token = held_by(workshop, user, Status::Unspent);
    token.wallet_id = wallet.id;
    token.mint_url = wallet.mint_url;
    Story::of(vec![token])
}
