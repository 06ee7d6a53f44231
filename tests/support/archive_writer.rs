//! mongodump archives and gzip streams, written and taken apart without the library.
//!
//! An archive is the magic number, a head document, one metadata document for each collection and a
//! mark; then blocks of a header, documents and a mark. The last block of a collection has no documents
//! and states the CRC-64 of all of them, as Go's `crc64.ECMA` has it.

use bson::{Document, doc};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::io::{Read, Write};

const MAGIC: u32 = 0x8199_e26d;
const MARK: [u8; 4] = [0xff; 4];

/// One collection of a dump.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Dumped {
    /// The metadata, as mongodump writes it.
    pub(crate) metadata: String,
    /// The documents, one after another.
    pub(crate) documents: Vec<u8>,
}

/// The collections of database `nctool` by name.
pub(crate) type Dump = BTreeMap<String, Dumped>;

/// A dump of tokens and wallets, with metadata as short as can be.
pub(crate) fn dump_of(tokens: &[u8], wallets: &[u8]) -> Dump {
    let collection = |name: &str, documents: &[u8]| {
        let metadata = format!(r#"{{"indexes":[],"collectionName":"{name}","type":"collection"}}"#);
        (name.to_owned(), Dumped { metadata, documents: documents.to_vec() })
    };
    Dump::from([collection("cashu_tokens", tokens), collection("cashu_wallets", wallets)])
}

/// CRC-64 bit by bit, slowly and plainly: ECMA-182's polynomial, reflected.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    const POLYNOMIAL: u64 = 0xc96c_5795_d787_0f42;
    let mut table = [0_u64; 256];
    for (byte, entry) in (0_u64..).zip(&mut table) {
        *entry = (0..8).fold(byte, |crc, _| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 });
    }
    !bytes.iter().fold(!0, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        table[usize::from(low ^ byte)] ^ (crc >> 8)
    })
}

fn put(archive: &mut Vec<u8>, document: &Document) {
    archive.extend(document.to_vec().unwrap());
}

/// The archive of `dump`, its collections taking turns after `piece` documents each.
pub(crate) fn archive(dump: &Dump, piece: usize) -> Vec<u8> {
    let mut archive = MAGIC.to_le_bytes().to_vec();
    put(
        &mut archive,
        &doc! {"concurrent_collections": 4, "version": "0.1", "server_version": "6.0.5", "tool_version": "100.7.0"},
    );
    for (name, collection) in dump {
        let metadata = collection.metadata.as_str();
        put(
            &mut archive,
            &doc! {"db": "nctool", "collection": name, "metadata": metadata, "size": 0, "type": "collection"},
        );
    }
    archive.extend(MARK);
    let header = |name: &str, end: bool, crc: u64| {
        let crc = i64::from_le_bytes(crc.to_le_bytes());
        doc! {"db": "nctool", "collection": name, "EOF": end, "CRC": crc}
    };
    let mut left: Vec<(&String, Vec<&[u8]>)> =
        dump.iter().map(|(name, it)| (name, split(&it.documents))).collect();
    while !left.is_empty() {
        left.retain_mut(|(name, documents)| {
            if documents.is_empty() {
                put(&mut archive, &header(name, true, crc64(&dump[*name].documents)));
                archive.extend(MARK);
                return false;
            }
            put(&mut archive, &header(name, false, 0));
            documents.drain(..piece.min(documents.len())).for_each(|it| archive.extend(it));
            archive.extend(MARK);
            true
        });
    }
    archive
}

/// Takes an archive of database `nctool` apart.
pub(crate) fn read_archive(archive: &[u8]) -> Dump {
    let mut rest = archive.strip_prefix(&MAGIC.to_le_bytes()).expect("an archive's magic number");
    let mut dump = Dump::new();
    let _head = take(&mut rest);
    while let Some(metadata) = take(&mut rest) {
        let metadata = Document::from_reader(metadata).unwrap();
        assert_eq!(metadata.get_str("db").unwrap(), "nctool");
        let name = metadata.get_str("collection").unwrap().to_owned();
        let metadata = metadata.get_str("metadata").unwrap().to_owned();
        dump.insert(name, Dumped { metadata, documents: Vec::new() });
    }
    while let Some(header) = take(&mut rest) {
        let header = Document::from_reader(header).unwrap();
        let collection = dump.get_mut(header.get_str("collection").unwrap()).unwrap();
        while let Some(document) = take(&mut rest) {
            collection.documents.extend(document);
        }
        if header.get_bool("EOF").unwrap() {
            let stated = header.get_i64("CRC").unwrap().to_le_bytes();
            assert_eq!(crc64(&collection.documents), u64::from_le_bytes(stated));
        }
    }
    dump
}

/// The document at the start of `rest`; `None` at a mark or the end.
fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (head, after) = rest.split_first_chunk::<4>()?;
    if *head == MARK {
        *rest = after;
        return None;
    }
    let length = usize::try_from(i32::from_le_bytes(*head)).unwrap();
    let (document, after) = rest.split_at(length);
    *rest = after;
    Some(document)
}

/// The single documents of a collection.
pub(crate) fn split(mut documents: &[u8]) -> Vec<&[u8]> {
    std::iter::from_fn(|| take(&mut documents)).collect()
}

/// One gzip member.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// All members of a gzip file.
pub(crate) fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut inflated = Vec::new();
    MultiGzDecoder::new(bytes).read_to_end(&mut inflated).unwrap();
    inflated
}

#[test]
fn the_check_sum_is_the_one_that_go_calls_ecma() {
    // The check value of CRC-64/XZ (Go's `crc64.ECMA`) for these nine digits.
    assert_eq!(crc64(b"123456789"), 0x995d_c9bb_df19_39fa);
}

#[test]
fn an_archive_is_taken_apart_into_what_it_was_written_from() {
    let documents: Vec<u8> = (0..7).flat_map(|n| doc! {"n": n}.to_vec().unwrap()).collect();
    let dump = dump_of(&documents, &documents[..24]);
    assert_eq!(read_archive(&archive(&dump, 2)), dump);
}
