//! Redaction on random documents: no canary is left, and nothing else is touched.

use super::*;
use crate::document::{DocumentBuilder, find, remove_field, validate};
use proptest::prelude::*;

/// A value as a tree, so that tests can say what it must become.
#[derive(Debug, Clone)]
enum Node {
    Leaf(ValueKind, Vec<u8>),
    Branch(ValueKind, Vec<(String, Node)>),
    Scope(Vec<(String, Node)>),
}

fn text(text: &str) -> Node {
    let length = i32::try_from(text.len() + 1).unwrap();
    Node::Leaf(ValueKind::String, [&length.to_le_bytes()[..], text.as_bytes(), &[0]].concat())
}

fn encode(fields: &[(String, Node)]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for (name, node) in fields {
        let (kind, value) = match node {
            Node::Leaf(kind, value) => (*kind, value.clone()),
            Node::Branch(kind, inner) => (*kind, encode(inner)),
            Node::Scope(inner) => {
                let code = [&3_i32.to_le_bytes()[..], b"f;\0"].concat();
                let mut value = [vec![0; 4], code, encode(inner)].concat();
                restore_length(&mut value, 0);
                (ValueKind::CodeWithScope, value)
            }
        };
        bytes.push(kind.byte());
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.extend(value);
    }
    bytes.push(0);
    restore_length(&mut bytes, 0);
    bytes
}

/// Values with and without canaries, and texts that only look like encoded tokens.
fn leaf() -> impl Strategy<Value = Node> {
    prop_oneof![
        (0..4_u8).prop_map(|n| text(&format!("CANARY{n}"))),
        Just(text("")),
        Just(text("cashu")),
        Just(text("pay cashuBo2FtdQ CANARY please")),
        any::<i64>().prop_map(|n| Node::Leaf(ValueKind::Int64, n.to_le_bytes().to_vec())),
        Just(Node::Leaf(ValueKind::Null, vec![])),
        Just(Node::Leaf(ValueKind::Boolean, vec![1])),
        Just(Node::Leaf(ValueKind::Binary, b"\x06\0\0\0\0CANARY".to_vec())),
        Just(Node::Leaf(ValueKind::String, b"\x03\0\0\0\xff\xfe\0".to_vec())),
    ]
}

fn name() -> impl Strategy<Value = String> {
    const NAMES: &[&str] = &[
        "secret",
        "C",
        "witness",
        "dleq",
        "p2pk_privkey",
        "proofs",
        "a",
        "0",
        "amount",
        "Secret",
        "",
    ];
    proptest::sample::select(NAMES).prop_map(str::to_owned)
}

fn fields() -> impl Strategy<Value = Vec<(String, Node)>> {
    let node = leaf().prop_recursive(4, 40, 5, |inner| {
        let fields = || prop::collection::vec((name(), inner.clone()), 0..5);
        prop_oneof![
            fields().prop_map(|fields| Node::Branch(ValueKind::Document, fields)),
            fields().prop_map(|fields| Node::Branch(ValueKind::Array, fields)),
            fields().prop_map(Node::Scope),
        ]
    });
    prop::collection::vec((name(), node), 0..6)
}

const NAMES: [&str; 5] = ["secret", "C", "witness", "dleq", "p2pk_privkey"];

fn mark_of_binary() -> Vec<u8> {
    [b"\x20\0\0\0\0".as_slice(), &[b'#'; 32]].concat()
}

/// The same rule in the plainest way, on the tree: what is hashed becomes a mark of its kind.
fn marked(fields: &[(String, Node)], in_proofs: bool) -> Vec<(String, Node)> {
    let mark = |name: &String, node: &Node| {
        let is_proofs = in_proofs || name == "proofs";
        let hashed = match node {
            Node::Leaf(kind, bytes) => match (kind, bytes.as_slice()) {
                (_, []) | (ValueKind::String, [_, _, _, _, 0]) => node.clone(),
                (ValueKind::String, _) => text(&"#".repeat(64)),
                _ => Node::Leaf(ValueKind::Binary, mark_of_binary()),
            },
            _ => Node::Leaf(ValueKind::Binary, mark_of_binary()),
        };
        match node {
            _ if NAMES.contains(&name.as_str()) => hashed,
            Node::Branch(ValueKind::Array, inner) if is_proofs => {
                Node::Branch(ValueKind::Array, marked(inner, true))
            }
            Node::Branch(kind, inner) => Node::Branch(*kind, marked(inner, name == "proofs")),
            _ if is_proofs => hashed,
            Node::Leaf(_, bytes) if holds_token(bytes) => hashed,
            Node::Leaf(..) => node.clone(),
            Node::Scope(_) if holds_token(&encode(&[(String::new(), node.clone())])) => hashed,
            Node::Scope(inner) => Node::Scope(marked(inner, false)),
        }
    };
    fields.iter().map(|(name, node)| (name.clone(), mark(name, node))).collect()
}

/// Replaces each hash in `redacted` by the mark that `expected` has there.
fn with_marks(redacted: &[u8], expected: &[u8]) -> Vec<u8> {
    assert_eq!(redacted.len(), expected.len());
    let pairs = redacted.iter().zip(expected);
    pairs.map(|(&seen, &mark)| if mark == b'#' { b'#' } else { seen }).collect()
}

fn redacted(redaction: &Redaction, document: &[u8]) -> Vec<u8> {
    let mut into = b"before".to_vec();
    redaction.append(document, &mut into).unwrap();
    into.split_off(6)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// No name of the generator holds a mark or a canary.
fn hashing(key: u8) -> Redaction {
    Redaction::Hash(HashKey::new(&[key; 32]).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn hashing_replaces_exactly_the_secrets(fields in fields()) {
        let document = encode(&fields);
        validate(&document).unwrap();
        let hashed = redacted(&hashing(7), &document);
        validate(&hashed).unwrap();
        let expected = encode(&marked(&fields, false));
        prop_assert_eq!(with_marks(&hashed, &expected), expected);
    }

    #[test]
    fn omitting_keys_removes_every_occurrence_and_nothing_else(fields in fields()) {
        fn without(fields: &[(String, Node)]) -> Vec<(String, Node)> {
            let kept = fields.iter().filter(|(name, _)| name != "p2pk_privkey");
            kept.map(|(name, node)| (name.clone(), match node {
                Node::Leaf(..) => node.clone(),
                Node::Branch(kind, inner) => Node::Branch(*kind, without(inner)),
                Node::Scope(inner) => Node::Scope(without(inner)),
            })).collect()
        }
        let document = encode(&fields);
        let omitted = encode(&without(&fields));
        prop_assert_eq!(redacted(&Redaction::OmitKeys, &document), omitted.clone());
        // A document that is said to stay as it is must do so.
        prop_assert!(omitted == document || !Redaction::OmitKeys.leaves(&document));
        prop_assert!(Redaction::OmitKeys.leaves(&omitted) || holds(&omitted, KEY_NAME));
        prop_assert!(Redaction::None.leaves(&document) && !hashing(7).leaves(&document));
        prop_assert_eq!(redacted(&Redaction::None, &document), document);
    }
}

#[test]
fn equal_secrets_stay_equal_and_the_key_decides_on_the_hash() {
    let proof =
        |secret: &str| Node::Branch(ValueKind::Document, vec![("secret".into(), text(secret))]);
    let proofs = Node::Branch(
        ValueKind::Array,
        vec![
            ("0".into(), proof("CANARY1")),
            ("1".into(), proof("CANARY2")),
            ("2".into(), proof("CANARY1")),
        ],
    );
    let document = encode(&[("proofs".into(), proofs)]);
    let secrets = |document: &[u8]| -> Vec<String> {
        let array = find(document, b"proofs").unwrap().unwrap();
        let proofs = array.nested(1).unwrap();
        let secret = |proof: Element<'_>| {
            let found = find(proof.value.bytes, b"secret").unwrap().unwrap();
            found.value.as_str().unwrap().to_owned()
        };
        proofs.map(|proof| secret(proof.unwrap())).collect()
    };
    let one = secrets(&redacted(&hashing(1), &document));
    assert_eq!(one[0], one[2]);
    assert_ne!(one[0], one[1]);
    assert!(one[0].len() == 64 && one[0].bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(one, secrets(&redacted(&hashing(1), &document)));
    assert_ne!(one, secrets(&redacted(&hashing(2), &document)));
}

#[test]
fn no_canary_is_left_wherever_it_stood() {
    let token = |inner: Node| encode(&[("a".into(), text("kept")), ("proofs".into(), inner)]);
    let array = |node: Node| Node::Branch(ValueKind::Array, vec![("0".into(), node)]);
    let field = |name: &str| Node::Branch(ValueKind::Document, vec![(name.into(), text("CANARY"))]);
    let mut places = vec![
        token(text("CANARY")),
        token(array(text("CANARY"))),
        token(array(array(text("CANARY")))),
        token(Node::Branch(ValueKind::Document, vec![("0".into(), text("CANARY"))])),
        encode(&[("json".into(), text(r#"[{"amount":1,"secret":"CANARY"}]"#))]),
        encode(&[(
            "raw".into(),
            Node::Leaf(ValueKind::Binary, b"\x0b\0\0\0\0crawBCANARY".to_vec()),
        )]),
        encode(&[("pattern".into(), Node::Leaf(ValueKind::Regex, b"cashuACANARY\0\0".to_vec()))]),
    ];
    for name in NAMES {
        places.push(token(array(field(name))));
        places.push(token(array(array(field(name)))));
        places.push(token(field(name)));
        places.push(encode(&[("metadata".into(), field(name))]));
        places.push(encode(&[("code".into(), Node::Scope(vec![(name.into(), text("CANARY"))]))]));
        // Twice, and of another type.
        let twice = vec![(name.into(), field("x")), (name.into(), text("CANARY"))];
        places.push(token(array(Node::Branch(ValueKind::Document, twice))));
    }
    for document in places {
        assert!(holds(&document, b"CANARY"));
        let hashed = redacted(&hashing(3), &document);
        assert!(!holds(&hashed, b"CANARY"), "{}", String::from_utf8_lossy(&document));
        validate(&hashed).unwrap();
    }
}

#[test]
fn the_outer_key_is_removed_as_remove_field_does() {
    let wallet =
        DocumentBuilder::new().text("a", "b").text("p2pk_privkey", "CANARY").text("c", "d");
    let wallet = wallet.finish();
    let omitted = redacted(&Redaction::OmitKeys, &wallet);
    assert_eq!(omitted, remove_field(&wallet, b"p2pk_privkey").unwrap());
}

#[test]
fn what_can_not_be_made_safe_is_refused() {
    let append = |document: &[u8]| hashing(1).append(document, &mut Vec::new());
    let mut cut = encode(&[("a".into(), text("b"))]);
    cut.pop();
    assert!(matches!(append(&cut), Err(Unredactable::Malformed(_))));

    let deep = |levels: usize| {
        (0..levels).fold(encode(&[]), |inner, _| {
            encode(&[("d".into(), Node::Leaf(ValueKind::Document, inner))])
        })
    };
    assert_eq!(append(&deep(181)), Ok(()));
    assert_eq!(append(&deep(300)), Err(Unredactable::Malformed(Fault::TooDeep)));

    let flags = Node::Leaf(ValueKind::Boolean, vec![1]);
    let many = encode(&vec![("C".to_owned(), flags); 1_000_000]);
    assert!(matches!(append(&many), Err(Unredactable::TooLong(length)) if length > 37_000_000));
}
