use super::*;

fn small() -> (Vec<Vec<u8>>, Vec<Vec<u8>>, Vec<u8>) {
    let (tokens, wallets) = (documents(5, 20), documents(3, 15));
    let archive = interleaved(&tokens, &wallets, 2);
    (tokens, wallets, archive)
}

fn read_bytes(content: &[u8]) -> Result<(Vec<u8>, Vec<u8>), InputError> {
    let folder = tempfile::tempdir().unwrap();
    read_all(&write(folder.path(), "dump.archive", content))
}

fn archive_fault(archive: &Archive) -> ArchiveFault {
    match read_bytes(&archive.bytes) {
        Err(InputError::Archive { fault, .. }) => fault,
        other => panic!("expected an archive's fault, found {other:?}"),
    }
}

#[test]
fn interleaved_blocks_give_each_collection_its_documents() {
    let (tokens, wallets, archive) = small();
    let expected = (tokens.concat(), wallets.concat());
    assert_eq!(read_bytes(&archive).unwrap(), expected);
    assert_eq!(read_bytes(&gzip(&archive)).unwrap(), expected);
}

#[test]
fn locations_lead_back_to_the_documents_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (tokens, _, archive) = small();
    for content in [archive.clone(), tokens.concat()] {
        let path = write(folder.path(), "dump", &content);
        let mut reader = open(&path).unwrap().tokens.read_by(45).unwrap();
        let mut chunk = Chunk::default();
        while reader.next_chunk(&mut chunk).unwrap() {
            assert_eq!(chunk.file(), path);
            for (at, byte) in chunk.bytes().iter().enumerate() {
                let location = usize::try_from(chunk.location(at)).unwrap();
                assert_eq!(content[location], *byte);
            }
        }
        assert_eq!(reader.stored_position(), u64::try_from(content.len()).unwrap());
    }
}

#[test]
fn every_prefix_of_an_archive_is_an_error() {
    let (_, _, archive) = small();
    for end in 0..archive.len() {
        assert!(read_bytes(&archive[..end]).is_err(), "{end} of {} bytes", archive.len());
    }
}

#[test]
fn no_flipped_byte_changes_documents_unnoticed() {
    let (tokens, wallets, archive) = small();
    let expected = (tokens.concat(), wallets.concat());
    let (mut caught, mut harmless) = (0, 0);
    for at in 0..archive.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut flipped = archive.clone();
            flipped[at] ^= mask;
            match read_bytes(&flipped) {
                Err(_) => caught += 1,
                Ok(read) if read == expected => harmless += 1,
                Ok(_) => panic!("byte {at} flipped by {mask:#x} changed documents unnoticed"),
            }
        }
    }
    assert_eq!(caught + harmless, archive.len() * 3);
    // Harmless are bytes of the head that say nothing of documents, and CRC fields that mean nothing.
    println!("{caught} caught, {harmless} harmless");
    assert!(caught > harmless, "{caught} caught, {harmless} harmless");
}

#[test]
fn one_wrong_bit_of_a_check_sum_is_an_error_of_skipped_collections_too() {
    let others = [BOTH[0], BOTH[1], ("other", "logs", "collection")];
    let (tokens, logs) = (documents(2, 20), documents(2, 30));
    let build = |crc_flip: u64| {
        let mut archive = Archive::new(&others)
            .end("nctool", "cashu_wallets", &[])
            .block("nctool", "cashu_tokens", &tokens)
            .end("nctool", "cashu_tokens", &tokens)
            .block("other", "logs", &logs);
        let crc = checksum(CrcAlgorithm::Crc64Xz, &logs.concat()) ^ crc_flip;
        archive.bytes.extend(block_header("other", "logs", true, crc));
        archive.bytes.extend([0xff; 4]);
        archive
    };
    assert!(read_bytes(&build(0).bytes).is_ok());
    for bit in 0..64 {
        let fault = archive_fault(&build(1 << bit));
        assert!(matches!(fault, ArchiveFault::CheckSum { .. }), "{fault}");
    }
}

#[test]
fn disorder_in_blocks_is_named() {
    let tokens = documents(2, 20);
    let begun = || {
        Archive::new(&BOTH).end("nctool", "cashu_wallets", &[]).block(
            "nctool",
            "cashu_tokens",
            &tokens,
        )
    };
    let unknown = begun().block("nctool", "strange", &tokens);
    assert_eq!(archive_fault(&unknown), ArchiveFault::Unknown("nctool.strange".to_owned()));
    let after =
        begun().end("nctool", "cashu_tokens", &tokens).block("nctool", "cashu_tokens", &tokens);
    assert_eq!(archive_fault(&after), ArchiveFault::AfterEnd("nctool.cashu_tokens".to_owned()));
    let unfinished = ArchiveFault::Unfinished("nctool.cashu_tokens".to_owned());
    assert_eq!(archive_fault(&begun()), unfinished);
    let mut inside = begun().end("nctool", "cashu_tokens", &tokens);
    let end = inside.bytes.len() - 4;
    inside.bytes.truncate(end);
    inside.bytes.extend(document(20, b'z'));
    inside.bytes.extend([0xff; 4]);
    let inside = archive_fault(&inside);
    assert_eq!(inside, ArchiveFault::DocumentsInEnd("nctool.cashu_tokens".to_owned()));
    let twice = Archive::new(&[BOTH[1], BOTH[0], BOTH[1]]);
    assert_eq!(archive_fault(&twice), ArchiveFault::Twice("nctool.cashu_tokens".to_owned()));
}

#[test]
fn what_is_not_read_is_noted() {
    let tokens = documents(2, 20);
    let archive = Archive::new(&[
        BOTH[0],
        BOTH[1],
        ("nctool", "balances", "view"),
        ("nctool", "prices", "timeseries"),
        ("admin", "system.users", "collection"),
        ("", "oplog", "collection"),
    ])
    .end("nctool", "cashu_wallets", &[])
    .block("nctool", "cashu_tokens", &tokens)
    .end("nctool", "cashu_tokens", &tokens)
    .block("nctool", "system.buckets.prices", &tokens)
    .end("nctool", "system.buckets.prices", &tokens)
    .end("admin", "system.users", &[])
    .end("", "oplog", &[]);
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "dump", &archive.bytes);
    let input = open(&path).unwrap();
    assert_eq!(input.db.as_deref(), Some("nctool"));
    assert_eq!(input.tokens.metadata_json.as_deref(), Some(&b"{\"indexes\":[]}"[..]));
    assert_eq!(bytes(&input.tokens).unwrap(), tokens.concat());
    assert_eq!(bytes(input.wallets.as_ref().unwrap()).unwrap(), Vec::<u8>::new());
    assert_eq!(
        input.notes,
        ["not read from the archive: nctool.balances (a view), nctool.prices (a timeseries), \
          admin.system.users, .oplog"]
    );
}

#[test]
fn several_databases_need_a_choice_and_missing_collections_are_named() {
    let tokens = documents(2, 20);
    let other = documents(1, 50);
    let archive = Archive::new(&[BOTH[0], BOTH[1], ("test", "cashu_tokens", "collection")])
        .end("nctool", "cashu_wallets", &[])
        .block("test", "cashu_tokens", &other)
        .end("test", "cashu_tokens", &other)
        .block("nctool", "cashu_tokens", &tokens)
        .end("nctool", "cashu_tokens", &tokens);
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "dump", &archive.bytes);
    let error = open(&path).unwrap_err();
    assert!(
        matches!(&error, InputError::SeveralDatabases { databases, .. } if databases == "nctool, test")
    );
    assert!(error.to_string().contains("--db"));
    let with = |db: &str, require_wallets| {
        let options =
            InputOptions { db: Some(db.to_owned()), require_wallets, ..InputOptions::default() };
        Input::open(&path, &options)
    };
    assert_eq!(bytes(&with("nctool", true).unwrap().tokens).unwrap(), tokens.concat());
    assert!(matches!(with("test", true), Err(InputError::NoWallets { .. })));
    assert_eq!(bytes(&with("test", false).unwrap().tokens).unwrap(), other.concat());
    let error = with("none", false).unwrap_err().to_string();
    assert!(error.contains("found nctool.cashu_wallets, nctool.cashu_tokens"), "{error}");
}

#[test]
fn names_from_an_archive_are_escaped_in_messages() {
    let archive = Archive::new(&[("a\u{1b}[2J", "../../etc", "collection")]);
    let error = read_bytes(&archive.bytes).unwrap_err().to_string();
    assert!(error.contains("a\\u{1b}[2J.../../etc"), "{error}");
}
