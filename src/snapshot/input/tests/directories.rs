use super::*;

const META: &[u8] = b"{\"indexes\":[]}";

fn dump(folder: &Path, tokens: &[u8], wallets: &[u8], zipped: bool) {
    for (name, content) in [("cashu_tokens", tokens), ("cashu_wallets", wallets)] {
        if zipped {
            write(folder, &format!("{name}.bson.gz"), &gzip(content));
            write(folder, &format!("{name}.metadata.json.gz"), &gzip(META));
        } else {
            write(folder, &format!("{name}.bson"), content);
            write(folder, &format!("{name}.metadata.json"), META);
        }
    }
}

#[test]
fn every_form_gives_the_same_chunks() {
    let (tokens, wallets) = (documents(3000, 900), documents(50, 300));
    let (token_bytes, wallet_bytes) = (tokens.concat(), wallets.concat());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    dump(&path.join("plain/nctool"), &token_bytes, &wallet_bytes, false);
    dump(&path.join("zipped/nctool"), &token_bytes, &wallet_bytes, true);
    let archive = interleaved(&tokens, &wallets, 17);
    write(path, "archive", &archive);
    write(path, "archive.gz", &gzip(&archive));
    let expected = expected_cuts(&tokens, CHUNK_BYTES_MIN);
    assert!(expected.len() > 4);
    let forms = [
        "plain",
        "plain/nctool",
        "zipped",
        "zipped/nctool",
        "archive",
        "archive.gz",
        "plain/nctool/cashu_tokens.bson",
        "zipped/nctool/cashu_tokens.bson.gz",
    ];
    for form in forms {
        let input = open(&path.join(form)).unwrap();
        assert!(cuts(&input.tokens, CHUNK_BYTES_MIN).unwrap() == expected, "{form}");
        let wallets = input.wallets.unwrap();
        assert_eq!(bytes(&wallets).unwrap(), wallet_bytes, "{form}");
        assert_eq!(input.tokens.metadata_json.as_deref(), Some(META), "{form}");
        assert_eq!(input.tokens.plain_file().is_some(), form.starts_with("plain"), "{form}");
        let lone = form.contains("bson");
        assert_eq!(input.db.as_deref(), (!lone).then_some("nctool"), "{form}");
        assert_eq!(input.notes.len(), usize::from(lone), "{form}: {:?}", input.notes);
    }
}

#[test]
fn names_of_files_do_not_decide_on_compression() {
    let folder = tempfile::tempdir().unwrap();
    let (tokens, wallets) = (documents(5, 50).concat(), documents(2, 50).concat());
    write(folder.path(), "cashu_tokens.bson", &gzip(&tokens));
    write(folder.path(), "cashu_wallets.bson.gz", &wallets);
    assert_eq!(read_all(folder.path()).unwrap(), (tokens, wallets));
}

#[test]
fn an_empty_collection_has_metadata_and_an_empty_file_alone_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    dump(path, &[], &[], false);
    assert_eq!(read_all(path).unwrap(), (vec![], vec![]));
    fs::remove_file(path.join("cashu_tokens.metadata.json")).unwrap();
    assert!(matches!(read_all(path), Err(InputError::Empty { .. })));
    let zipped = tempfile::tempdir().unwrap();
    dump(zipped.path(), &[], &[], true);
    assert_eq!(read_all(zipped.path()).unwrap(), (vec![], vec![]));
    write(zipped.path(), "cashu_tokens.bson.gz", &[]);
    assert!(matches!(read_all(zipped.path()), Err(InputError::Empty { .. })));
}

#[test]
fn the_same_collection_in_two_files_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    dump(folder.path(), &document(20, b'a'), &[], false);
    write(folder.path(), "cashu_tokens.bson.gz", &gzip(&document(20, b'b')));
    assert!(matches!(open(folder.path()), Err(InputError::Duplicate { .. })));
}

#[test]
#[cfg(unix)]
fn links_and_other_kinds_inside_a_dump_are_refused() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let real = path.join("real");
    dump(&real, &document(20, b'a'), &[], false);

    let linked = path.join("linked");
    dump(&linked, &[], &[], false);
    for name in ["cashu_tokens.bson", "cashu_wallets.bson", "cashu_tokens.metadata.json"] {
        let kept = fs::read(linked.join(name)).unwrap();
        fs::remove_file(linked.join(name)).unwrap();
        symlink(real.join(name), linked.join(name)).unwrap();
        let error = open(&linked).unwrap_err();
        assert!(
            matches!(&error, InputError::NotAFile { seen, .. } if *seen == "a symbolic link"),
            "{error}"
        );
        fs::remove_file(linked.join(name)).unwrap();
        write(&linked, name, &kept);
    }
    fs::remove_file(linked.join("cashu_tokens.bson")).unwrap();
    let _socket = UnixListener::bind(linked.join("cashu_tokens.bson")).unwrap();
    assert!(matches!(open(&linked), Err(InputError::NotAFile { .. })));
    fs::remove_file(linked.join("cashu_tokens.bson")).unwrap();
    fs::create_dir(linked.join("cashu_tokens.bson")).unwrap();
    assert!(matches!(open(&linked), Err(InputError::NotAFile { .. })));

    let root = path.join("root");
    fs::create_dir(&root).unwrap();
    symlink(&real, root.join("nctool")).unwrap();
    let error = open(&root).unwrap_err().to_string();
    assert!(error.contains("nctool (a symbolic link)"), "{error}");
    let options = InputOptions { db: Some("nctool".to_owned()), ..InputOptions::default() };
    assert!(matches!(Input::open(&root, &options), Err(InputError::NotAFile { .. })));
    // What a person names may be a link.
    symlink(&real, path.join("latest")).unwrap();
    assert!(open(&path.join("latest")).is_ok());
}

#[test]
fn other_databases_and_collections_are_noted_and_several_need_a_choice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    dump(&path.join("nctool"), &document(20, b'a'), &[], false);
    write(path, "nctool/logs.bson", &document(20, b'x'));
    write(path, "nctool/balances.metadata.json", META);
    write(path, "admin/system.users.bson", &document(20, b'x'));
    write(path, "oplog.bson", &document(20, b'x'));
    write(path, "prelude.json", b"{}");
    let input = open(path).unwrap();
    assert_eq!(
        input.notes,
        ["not read from the dump: admin, oplog.bson", "not read from the database nctool: logs"]
    );
    assert_eq!(input.manifest, None);
    write(path, MANIFEST_NAME, b"{}");
    assert!(open(path).unwrap().manifest.is_some());

    write(path, "test/cashu_tokens.bson", &document(20, b'b'));
    let error = open(path).unwrap_err();
    assert!(
        matches!(&error, InputError::SeveralDatabases { databases, .. } if databases == "nctool, test")
    );
    let with = |db: &str| {
        let options = InputOptions { db: Some(db.to_owned()), ..InputOptions::default() };
        Input::open(path, &options)
    };
    assert_eq!(bytes(&with("nctool").unwrap().tokens).unwrap(), document(20, b'a'));
    let error = with("test").unwrap_err().to_string();
    assert!(error.contains("--without-wallets"), "{error}");
    let error = with("admin").unwrap_err().to_string();
    assert!(error.contains("admin.system.users") && error.contains("--tokens"), "{error}");
}

#[test]
fn a_missing_path_and_impossible_names_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(&folder.path().join("none")).unwrap_err().to_string();
    assert!(error.contains("none: can't be read: no such file or directory"), "{error}");
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("found nothing"), "{error}");
    for name in ["", "..", "a/b", "a\0b"] {
        let options = InputOptions { tokens: name.to_owned(), ..InputOptions::default() };
        assert!(matches!(
            Input::open(folder.path(), &options),
            Err(InputError::Name { option: "tokens" })
        ));
    }
}

#[test]
fn a_lone_file_without_wallets_is_read_with_a_note() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "backup.bson", &document(20, b'a'));
    let input = open(&path).unwrap();
    assert!(input.wallets.is_none());
    assert_eq!(
        input.notes,
        [
            "backup.bson is read as the collection cashu_tokens",
            "no file of cashu_wallets lies beside the tokens: wallets are not known"
        ]
    );
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

#[test]
fn zstandard_files_give_the_same_chunks_and_damage_in_them_is_named() {
    let tokens = documents(3000, 900);
    let packed = zstd(&tokens.concat());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    dump(path, &[], &documents(2, 50).concat(), false);
    fs::remove_file(path.join("cashu_tokens.bson")).unwrap();
    let file = write(path, "cashu_tokens.bson.zst", &packed);
    let input = open(path).unwrap();
    assert!(
        cuts(&input.tokens, CHUNK_BYTES_MIN).unwrap() == expected_cuts(&tokens, CHUNK_BYTES_MIN)
    );
    assert_eq!(input.tokens.plain_file(), None);
    assert_eq!(input.tokens.stored_bytes(), u64::try_from(packed.len()).unwrap());
    // Several frames are read as one stream.
    let (front, back) = (tokens[..7].concat(), tokens[7..].concat());
    write(path, "cashu_tokens.bson.zst", &[zstd(&front), zstd(&back)].concat());
    assert_eq!(bytes(&open(path).unwrap().tokens).unwrap(), tokens.concat());

    for cut in [5, packed.len() / 2, packed.len() - 1] {
        fs::write(&file, &packed[..cut]).unwrap();
        let error = open(path).and_then(|input| bytes(&input.tokens)).unwrap_err().to_string();
        assert!(error.contains("rest of the Zstandard data"), "{cut}: {error}");
    }
    let mut damaged = packed.clone();
    damaged[packed.len() / 2] ^= 0x40;
    for wrong in [damaged, [&packed[..], b"more than four"].concat()] {
        fs::write(&file, wrong).unwrap();
        let error = open(path).and_then(|input| bytes(&input.tokens)).unwrap_err();
        assert!(
            matches!(error, InputError::Compressed { .. } | InputError::Frame { .. }),
            "{error}"
        );
    }
}

#[test]
fn zstandard_has_the_same_bounds_as_gzip() {
    let bomb = zstd(&document(16 * 1024 * 1024, b'x'));
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "cashu_tokens.bson.zst", &bomb);
    assert!(matches!(read_all(&path), Err(InputError::InflateRatio { .. })));
    let options = InputOptions {
        inflate_ratio_max: u32::MAX,
        inflated_bytes_max: 1024 * 1024,
        ..InputOptions::default()
    };
    let input = Input::open(&path, &options).unwrap();
    assert!(matches!(bytes(&input.tokens), Err(InputError::InflatedBytes { .. })));

    // A frame that wants a window of 128 MiB is refused, whatever it holds.
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&documents(3000, 900).concat()).unwrap();
    let path = write(folder.path(), "wide.bson", &encoder.finish().unwrap());
    assert!(matches!(read_all(&path), Err(InputError::Compressed { .. })));
}
