//! Tests of the inputs, on dumps built in code.

mod archives;
mod directories;
mod frames;
mod speed;

use super::*;
use crc_fast::{CrcAlgorithm, checksum};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::Write;

/// A document of exactly `length` bytes, at least 12, with `fill` in its text.
fn document(length: usize, fill: u8) -> Vec<u8> {
    let text = length - 12;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(i32::try_from(length).unwrap().to_le_bytes());
    bytes.extend([2, b'a', 0]);
    let claimed = i32::try_from(text).unwrap();
    if text == 0 {
        // Too short for text: an undefined value, twice.
        return vec![12, 0, 0, 0, 6, b'a', 0, 6, b'b', b'c', 0, 0];
    }
    bytes.extend(claimed.to_le_bytes());
    bytes.extend(std::iter::repeat_n(fill, text - 1));
    bytes.extend([0, 0]);
    assert_eq!(bytes.len(), length);
    bytes
}

fn documents(count: usize, length: usize) -> Vec<Vec<u8>> {
    let fill = |number: usize| b'a' + u8::try_from(number % 26).unwrap();
    (0..count).map(|number| document(length + number % 7, fill(number))).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn text(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![2];
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.extend(i32::try_from(value.len() + 1).unwrap().to_le_bytes());
    bytes.extend(value.as_bytes());
    bytes.push(0);
    bytes
}

fn framed(elements: &[Vec<u8>]) -> Vec<u8> {
    let inner = elements.concat();
    let mut bytes = i32::try_from(inner.len() + 5).unwrap().to_le_bytes().to_vec();
    bytes.extend(inner);
    bytes.push(0);
    bytes
}

fn metadata(db: &str, collection: &str, kind: &str) -> Vec<u8> {
    framed(&[
        text("db", db),
        text("collection", collection),
        text("metadata", "{\"indexes\":[]}"),
        text("type", kind),
    ])
}

fn block_header(db: &str, collection: &str, end: bool, crc: u64) -> Vec<u8> {
    let mut last = vec![8];
    last.extend(b"EOF\0");
    last.push(u8::from(end));
    last.push(0x12);
    last.extend(b"CRC\0");
    last.extend(crc.to_le_bytes());
    framed(&[text("db", db), text("collection", collection), last])
}

/// Builds archives.
struct Archive {
    bytes: Vec<u8>,
}

impl Archive {
    fn new(namespaces: &[(&str, &str, &str)]) -> Archive {
        let mut bytes = archive::MAGIC.to_vec();
        bytes.extend(framed(&[text("version", "0.1")]));
        for (db, collection, kind) in namespaces {
            bytes.extend(metadata(db, collection, kind));
        }
        bytes.extend([0xff; 4]);
        Archive { bytes }
    }

    fn block(mut self, db: &str, collection: &str, documents: &[Vec<u8>]) -> Archive {
        self.bytes.extend(block_header(db, collection, false, 0));
        self.bytes.extend(documents.concat());
        self.bytes.extend([0xff; 4]);
        self
    }

    fn end(mut self, db: &str, collection: &str, documents: &[Vec<u8>]) -> Archive {
        let crc = checksum(CrcAlgorithm::Crc64Xz, &documents.concat());
        self.bytes.extend(block_header(db, collection, true, crc));
        self.bytes.extend([0xff; 4]);
        self
    }
}

const BOTH: [(&str, &str, &str); 2] =
    [("nctool", "cashu_wallets", "collection"), ("nctool", "cashu_tokens", "collection")];

/// Tokens and wallets in blocks of `piece` documents that take turns.
fn interleaved(tokens: &[Vec<u8>], wallets: &[Vec<u8>], piece: usize) -> Vec<u8> {
    let mut archive = Archive::new(&BOTH);
    let mut tokens_left = tokens.chunks(piece);
    let mut wallets_left = wallets.chunks(piece);
    loop {
        let (token, wallet) = (tokens_left.next(), wallets_left.next());
        if let Some(documents) = token {
            archive = archive.block("nctool", "cashu_tokens", documents);
        }
        if let Some(documents) = wallet {
            archive = archive.block("nctool", "cashu_wallets", documents);
        }
        if token.is_none() && wallet.is_none() {
            break;
        }
    }
    archive.end("nctool", "cashu_tokens", tokens).end("nctool", "cashu_wallets", wallets).bytes
}

/// What a chunk says of itself: index, first document, documents, offset, bytes.
type Cut = (u64, u64, usize, u64, Vec<u8>);

fn cuts(collection: &Collection, chunk_bytes_min: usize) -> Result<Vec<Cut>, InputError> {
    let mut reader = collection.read_by(chunk_bytes_min)?;
    let mut chunk = Chunk::default();
    let mut all = Vec::new();
    while reader.next_chunk(&mut chunk)? {
        let Chunk { index, first_document, documents, offset, .. } = chunk;
        all.push((index, first_document, documents, offset, chunk.bytes().to_vec()));
    }
    Ok(all)
}

fn bytes(collection: &Collection) -> Result<Vec<u8>, InputError> {
    Ok(cuts(collection, CHUNK_BYTES_MIN)?.into_iter().flat_map(|cut| cut.4).collect())
}

/// The rule of the chunks, said again in the plainest way.
fn expected_cuts(documents: &[Vec<u8>], chunk_bytes_min: usize) -> Vec<Cut> {
    let mut all: Vec<Cut> = Vec::new();
    let (mut offset, mut first) = (0, 0);
    for document in documents {
        if all.last().is_none_or(|cut| cut.4.len() >= chunk_bytes_min) {
            all.push((u64::try_from(all.len()).unwrap(), first, 0, offset, Vec::new()));
        }
        let cut = all.last_mut().unwrap();
        cut.2 += 1;
        cut.4.extend(document);
        offset += u64::try_from(document.len()).unwrap();
        first += 1;
    }
    all
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn open(path: &Path) -> Result<Input, InputError> {
    Input::open(path, &InputOptions::default())
}

/// Opens and reads everything: tokens, then wallets.
fn read_all(path: &Path) -> Result<(Vec<u8>, Vec<u8>), InputError> {
    let input = open(path)?;
    let tokens = bytes(&input.tokens)?;
    let wallets = input.wallets.as_ref().map_or(Ok(Vec::new()), bytes)?;
    Ok((tokens, wallets))
}
