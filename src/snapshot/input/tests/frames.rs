use super::*;
use crate::model::Sha256Hash;
use crate::snapshot::identity::ChunkTable;
use proptest::prelude::*;
use std::os::unix::fs::{FileExt, MetadataExt};
use stored::wide;

fn lone(content: &[u8]) -> Result<Vec<u8>, InputError> {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "cashu_tokens.bson", content);
    bytes(&open(&path)?.tokens)
}

fn fault(content: &[u8]) -> (u64, FrameFault) {
    match lone(content) {
        Err(InputError::Frame { place, fault }) => (place.offset, fault),
        other => panic!("expected a frame's fault, found {other:?}"),
    }
}

#[test]
fn broken_frames_are_named_with_their_offset() {
    let good = document(100, b'x');
    let after = |rest: &[u8]| [&good[..], rest].concat();
    for claimed in [0, -1, 4, i32::MAX, 16 * 1024 * 1024 + 16 * 1024 + 1] {
        let wrong = after(&claimed.to_le_bytes());
        assert_eq!(fault(&wrong), (100, FrameFault::Length(claimed)));
    }
    assert_eq!(fault(&after(&[5, 0])), (100, FrameFault::HeaderCut(2)));
    assert_eq!(fault(&[5]), (0, FrameFault::HeaderCut(1)));
    let cut = FrameFault::BodyCut { claimed: 100, present: 99 };
    assert_eq!(fault(&after(&good[..99])), (100, cut));
    let mut unended = good.clone();
    unended[99] = 1;
    assert_eq!(fault(&after(&unended)), (100, FrameFault::Terminator));
    assert_eq!(lone(&after(&good)).unwrap(), after(&good));
}

#[test]
fn a_lone_empty_file_is_an_error_and_so_is_an_empty_gzip() {
    assert!(matches!(lone(&[]), Err(InputError::Empty { .. })));
    assert!(matches!(lone(&gzip(&[])), Err(InputError::Empty { .. })));
}

#[test]
fn every_prefix_of_a_gzip_file_is_an_error_and_members_are_read_all() {
    let documents = documents(40, 90);
    let mut whole = gzip(&documents[..10].concat());
    whole.extend(gzip(&documents[10..].concat()));
    assert_eq!(lone(&whole).unwrap(), documents.concat());
    let first = gzip(&documents[..10].concat()).len();
    for end in 0..whole.len() {
        // Cut exactly between members, nothing but a count can tell.
        assert_eq!(lone(&whole[..end]).is_ok(), end == first, "{end}");
    }
    let mut garbage = whole.clone();
    garbage.extend(b"garbage");
    assert!(matches!(lone(&garbage), Err(InputError::Compressed { .. })));
    for back in 1..=8 {
        let mut wrong = whole.clone();
        let at = wrong.len() - back;
        wrong[at] ^= 1;
        assert!(matches!(lone(&wrong), Err(InputError::Compressed { .. })), "{back}");
    }
}

#[test]
fn bombs_are_stopped_by_ratio_and_by_size() {
    let folder = tempfile::tempdir().unwrap();
    // The fastest level reaches 103 to 1 even on this, below the bound; the best some 1000.
    let flat = document(1024 * 1024, b'x').repeat(20);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&flat).unwrap();
    let flat = encoder.finish().unwrap();
    assert!(flat.len() * 900 < 20 * 1024 * 1024, "{}", flat.len());
    let path = write(folder.path(), "cashu_tokens.bson", &flat);
    let read = |options: &InputOptions| bytes(&Input::open(&path, options).unwrap().tokens);
    let defaults = InputOptions::default();
    assert!(matches!(read(&defaults), Err(InputError::InflateRatio { .. })));
    let wide = InputOptions { inflate_ratio_max: 2000, ..defaults.clone() };
    assert_eq!(read(&wide).unwrap().len(), 20 * 1024 * 1024);
    let small = InputOptions { inflated_bytes_max: 1024 * 1024, ..defaults };
    let error = read(&small).unwrap_err();
    assert!(error.to_string().contains("raise --inflated-bytes-max"), "{error}");
}

#[test]
fn a_file_that_shrinks_grows_or_is_replaced_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let content = documents(20_000, 100).concat();
    let path = write(folder.path(), "cashu_tokens.bson", &content);
    let tokens = open(&path).unwrap().tokens;
    let mut reader = tokens.read().unwrap();
    let mut chunk = Chunk::default();
    assert!(reader.next_chunk(&mut chunk).unwrap());
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(1_000_000).unwrap();
    let error = loop {
        match reader.next_chunk(&mut chunk) {
            Ok(true) => {}
            Ok(false) => panic!("the cut was not noticed"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, InputError::Changed { .. }), "{error}");
    assert_eq!(reader.next_chunk(&mut chunk), Err(error));
    assert!(matches!(tokens.read(), Err(InputError::Changed { .. })));

    fs::write(&path, &content).unwrap();
    let tokens = open(&path).unwrap().tokens;
    let mut reader = tokens.read().unwrap();
    let mut longer = fs::File::options().append(true).open(&path).unwrap();
    longer.write_all(&document(100, b'y')).unwrap();
    while reader.next_chunk(&mut chunk).is_ok_and(|more| more) {}
    assert!(matches!(reader.next_chunk(&mut chunk), Err(InputError::Changed { .. })));

    fs::write(folder.path().join("other"), &content).unwrap();
    fs::rename(folder.path().join("other"), &path).unwrap();
    assert!(matches!(tokens.read(), Err(InputError::Changed { .. })));
}

/// Writes the same bytes to the file once more, which is a change for whoever looks at times, however coarse they are.
fn touch(path: &Path, content: &[u8]) {
    let times = || {
        let seen = fs::metadata(path).unwrap();
        (seen.ctime(), seen.ctime_nsec())
    };
    let before = times();
    while times() == before {
        fs::write(path, content).unwrap();
    }
}

#[test]
fn a_file_that_is_written_to_at_its_length_is_noticed_at_its_end_and_later() {
    let folder = tempfile::tempdir().unwrap();
    let content = documents(2_000, 100).concat();
    for packed in [content.clone(), gzip(&content)] {
        let path = write(folder.path(), "cashu_tokens.bson", &packed);
        let tokens = open(&path).unwrap().tokens;
        let (mut reader, mut chunk) = (tokens.read().unwrap(), Chunk::default());
        tokens.compare().unwrap();
        touch(&path, &packed);
        let error = loop {
            match reader.next_chunk(&mut chunk) {
                Ok(true) => {}
                Ok(false) => panic!("the change was not noticed"),
                Err(error) => break error,
            }
        };
        let bytes = wide(packed.len());
        assert_eq!(error, InputError::Changed { file: path, expected: bytes, seen: bytes });
        assert!(error.to_string().contains("seen other ones"), "{error}");
        assert!(matches!(tokens.compare(), Err(InputError::Changed { .. })));
        assert!(matches!(tokens.read(), Err(InputError::Changed { .. })));
    }
}

#[test]
fn known_chunks_are_read_again_as_they_were_or_the_change_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let content = documents(20_000, 100).concat();
    let path = write(folder.path(), "cashu_tokens.bson", &content);
    let tokens = open(&path).unwrap().tokens;
    let (mut reader, mut chunk) = (tokens.read().unwrap(), Chunk::default());
    let (mut table, mut chunks) = (ChunkTable::new(), Vec::new());
    while reader.next_chunk(&mut chunk).unwrap() {
        table.push(wide(chunk.bytes().len()), wide(chunk.documents), Sha256Hash([0; 32]));
        let record = *table.records().last().unwrap();
        let (index, first_document) = (chunk.index, chunk.first_document);
        chunks.push((chunk.clone(), KnownChunk { index, first_document, record }));
    }
    assert!(chunks.len() > 3);
    let file = tokens.known_file().unwrap().unwrap();
    let mut again = Chunk::default();
    for (chunk, known) in chunks.iter().rev() {
        file.read(known, &mut again).unwrap();
        assert_eq!(again.bytes(), chunk.bytes());
        assert_eq!(again.place(7), chunk.place(7));
        assert_eq!(again.documents, chunk.documents);
        assert_eq!((again.index, again.first_document), (chunk.index, chunk.first_document));
    }

    // Other documents in the same bytes, another frame, a shorter file.
    let (_, known) = &chunks[1];
    let changed = fs::File::options().write(true).open(&path).unwrap();
    let at = known.record.offset;
    let length = |bytes: &[u8]| i32::from_le_bytes(*bytes.first_chunk().unwrap());
    let first = length(&content[usize::try_from(at).unwrap()..]);
    let second = length(&content[usize::try_from(at).unwrap() + usize::try_from(first).unwrap()..]);
    for claimed in [first + second, first - 1] {
        changed.write_all_at(&claimed.to_le_bytes(), at).unwrap();
        assert!(matches!(file.read(known, &mut again), Err(InputError::Changed { .. })));
    }
    changed.write_all_at(&first.to_le_bytes(), at).unwrap();
    file.read(known, &mut again).unwrap();
    changed.set_len(at + 1000).unwrap();
    let error = file.read(known, &mut again).unwrap_err();
    let (expected, seen) = (wide(content.len()), at + 1000);
    assert_eq!(error, InputError::Changed { file: path, expected, seen });
    assert!(matches!(tokens.known_file(), Err(InputError::Changed { .. })));
}

#[test]
fn messages_name_the_file_the_byte_and_the_next_step_and_no_content() {
    let folder = tempfile::tempdir().unwrap();
    let mut content = document(60, b'S');
    content.extend(&document(60, b'S')[..50]);
    let path = write(folder.path(), "cashu_tokens.bson", &gzip(&content));
    let error = bytes(&open(&path).unwrap().tokens).unwrap_err();
    let name = path.display();
    assert_eq!(
        error.to_string(),
        format!(
            "{name}: byte 60 of the decompressed stream: expected a document of 60 bytes, found \
             the end after 50; the file is damaged or not a dump, take the dump again"
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Sizes below, around and far beyond the least chunk; the same cuts in every form.
    #[test]
    fn every_form_is_cut_by_the_rule(
        sizes in prop::collection::vec(prop_oneof![13_usize..80, 200_usize..900, 5000_usize..9000], 0..60),
        chunk_bytes_min in prop_oneof![1_usize..20, 50_usize..400, 3000_usize..4000],
        piece in 1_usize..9,
    ) {
        let documents: Vec<Vec<u8>> = sizes.iter().map(|&size| document(size, b'q')).collect();
        let expected = expected_cuts(&documents, chunk_bytes_min);
        let wallets = super::documents(5, 40);
        let plain = documents.concat();
        let archive = interleaved(&documents, &wallets, piece);
        for content in [plain.clone(), gzip(&plain), archive.clone(), gzip(&archive)] {
            if plain.is_empty() && content.len() < 60 {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let path = write(folder.path(), "dump", &content);
            let tokens = open(&path).unwrap().tokens;
            prop_assert_eq!(&cuts(&tokens, chunk_bytes_min).unwrap(), &expected);
            // A second pass is as good as the first.
            prop_assert_eq!(&cuts(&tokens, chunk_bytes_min).unwrap(), &expected);
        }
    }
}
