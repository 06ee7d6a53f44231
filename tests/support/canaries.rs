//! Canaries: secrets that no output may hold, in every spelling in which one could slip through.

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
