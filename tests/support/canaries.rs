//! Canaries: secrets that no output may hold, in every spelling in which one could slip through.

use super::raw::{RawValue, array, document, element, int32, nested, string};
use std::cell::Cell;
use std::fs;
use std::path::Path;

/// One canary for each place where a secret stands. Some have characters that are escaped somewhere.
pub(crate) const CANARIES: [&str; 10] = [
    "canary0secretcanary",
    "canary1C\"'\\/<&> \u{e9}%+canary",
    "canary2witness\n\t\",,canary",
    "canary3dleqcanarycan",
    "canary4priv/key+canary==",
    "canary5tokencanaryca",
    "canary6unknown\u{202e}canary",
    "canary7proofidcanary",
    "canary8insidecanary8",
    "canary9mutedcanary99",
];

/// Base64 of `bytes` without padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - group.len()));
        for digit in 0..=group.len() {
            let index = usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap();
            text.push(char::from(DIGITS[index]));
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `text` with every byte that a URI does not hold as it is, or every byte, as `%xx`.
fn percent(text: &str, is_plain: impl Fn(u8) -> bool) -> String {
    let spell = |byte: u8| {
        if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(spell).collect()
}

/// Every spelling of `secret` that is looked for.
pub(crate) fn spellings(secret: &str) -> Vec<String> {
    let hex = hex(secret.as_bytes());
    let json = serde_json::to_string(secret).unwrap();
    let json = json[1..json.len() - 1].to_owned();
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let spelled_out = secret.escape_unicode().to_string();
    let ascii: String = secret
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii_graphic() && !b"\"\\".contains(&byte) => {
                char::from(byte).to_string()
            }
            _ => format!("\\u{unit:04x}"),
        })
        .collect();
    let mut all = vec![
        secret.to_owned(),
        secret.to_uppercase(),
        hex.to_uppercase(),
        hex,
        json.replace('/', "\\/"),
        json,
        ascii,
        spelled_out,
        secret.escape_debug().to_string(),
        secret.escape_default().to_string(),
        secret.replace('"', "\"\""),
        html.replace('"', "&quot;").replace('\'', "&#39;"),
        html,
        percent(secret, |_| false),
        percent(secret, |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)),
        percent(secret, |byte| byte.is_ascii_alphanumeric()).replace("%20", "+"),
    ];
    // At each of the three places in a group of base64; the digits at the ends hold other bits too.
    for before in 0..3 {
        let text = base64(&[&vec![b'x'; before], secret.as_bytes()].concat());
        let known = &text[if before == 0 { 0 } else { 4 }..text.len() / 4 * 4 - 4];
        all.push(known.to_owned());
        all.push(known.replace('+', "-").replace('/', "_"));
    }
    all.sort();
    all.dedup();
    all
}

/// The first spelling of any of `secrets` in `bytes`.
pub(crate) fn find_any(bytes: &[u8], secrets: &[&str]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    secrets.iter().flat_map(|secret| spellings(secret)).find(|spelling| text.contains(spelling))
}

/// The first spelling of a canary in `bytes`.
pub(crate) fn find_secret(bytes: &[u8]) -> Option<String> {
    find_any(bytes, &CANARIES)
}

fn proof(number: usize) -> RawValue {
    let text = |index: usize| string(CANARIES[index]);
    nested(&[
        element("id", &string("00ad268c4d1f5826")),
        element("amount", &int32(8)),
        // Two tokens have the same.
        element("secret", &string(format!("{}{}", CANARIES[0], number / 2))),
        element("C", &text(1)),
        element("witness", &nested(&[element("signatures", &array(&[text(2)]))])),
        element("dleq", &nested(&[element("r", &text(3))])),
    ])
}

/// A wallet's document, private key and all, as it stands in the wallets and in a populated token.
pub(crate) fn wallet(number: i32) -> RawValue {
    nested(&[
        element("_id", &int32(number)),
        element("npub", &string("npub-of-a-user")),
        element("mint_url", &string("https://mint.example")),
        element("p2pk_privkey", &string(CANARIES[4])),
    ])
}

/// A token with a canary wherever a secret stands, and in places where none should.
pub(crate) fn token(number: usize) -> Vec<u8> {
    let encoded = string(format!("cashuA{}", CANARIES[5]));
    let wallet_id = if number.is_multiple_of(3) { wallet(1) } else { int32(1) };
    let odd = number.is_multiple_of(5);
    document(&[
        element("_id", &int32(i32::try_from(number).unwrap())),
        element("npub", if odd { &encoded } else { &wallet_id }),
        element("wallet_id", &wallet_id),
        element("mint_url", if odd { &encoded } else { &wallet_id }),
        element("status", &string("unspent")),
        element("transaction_type", &string("melted")),
        element("transaction_id", if odd { &encoded } else { &wallet_id }),
        element("total_amount", &int32(9)),
        element("proofs", &array(&[proof(number)])),
        element("metadata", &nested(&[element("token", &encoded)])),
        element("note", &nested(&[element("secret", &string(CANARIES[8]))])),
    ])
}

/// Everything that is searched for secrets, counted.
pub(crate) struct Sinks {
    /// How many secrets are looked for.
    secrets: usize,
    /// All their spellings.
    spellings: Vec<String>,
    searched: Cell<usize>,
}

impl Sinks {
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Sinks {
        let secrets: Vec<&str> = secrets.into_iter().collect();
        let spellings = secrets.iter().flat_map(|secret| spellings(secret)).collect();
        Sinks { secrets: secrets.len(), spellings, searched: Cell::new(0) }
    }

    /// Makes sure that no secret is in `bytes`.
    pub(crate) fn silent(&self, what: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let found = self.spellings.iter().find(|spelling| text.contains(*spelling));
        assert!(found.is_none(), "{found:?} in {what}: {text}");
        self.searched.set(self.searched.get() + 1);
    }

    /// Makes sure that `docs/trust.md` says how much was searched.
    pub(crate) fn are_those_of_the_documentation(&self, of: &str) {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/trust.md");
        let told = format!("{of}: {} secrets, {} outputs", self.secrets, self.searched.get());
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains(&told), "docs/trust.md does not say this; put it there: {told}");
    }
}
