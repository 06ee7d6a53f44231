//! What must hold of every generated ledger.

use super::*;
use crate::document::validate;
use crate::model::FindingCode;
use serde_json::Value;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;

fn options(tokens: u64, seed: u64, damage: bool) -> GenerateOptions {
    GenerateOptions { tokens, seed, damage }
}

fn documents(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut documents = Vec::new();
    while !bytes.is_empty() {
        let claimed = i32::from_le_bytes(*bytes.first_chunk().unwrap());
        let (document, rest) = bytes.split_at(usize::try_from(claimed).unwrap());
        documents.push(document);
        bytes = rest;
    }
    documents
}

fn count(truth: &Value, code: FindingCode) -> u64 {
    truth["findings"][code.as_str()]["count"].as_u64().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let make = |seed| generate_in_memory(&options(2_000, seed, true)).unwrap();
    assert_eq!(make(7), make(7));
    assert_ne!(make(7).0, make(8).0);
}

#[test]
fn every_finding_and_class_is_there_at_300_tokens_with_damage() {
    for seed in 0..5 {
        let (_, _, truth) = generate_in_memory(&options(300, seed, true)).unwrap();
        for &code in FindingCode::ALL {
            assert!(count(&truth, code) > 0, "seed {seed}: no {code}");
        }
        for code in ["orphaned_tokens", "duplicate_secrets"] {
            for (class, number) in truth["findings"][code]["classes"].as_object().unwrap() {
                assert!(number.as_u64().unwrap() > 0, "seed {seed}: no {class}");
            }
        }
        assert!(truth["notChanged"]["duplicate_field"].as_u64().unwrap() > 0);
    }
}

#[test]
fn the_whole_catalogue_of_damage_fits_300_tokens() {
    for seed in 0..5 {
        let mut workshop = workshop::Workshop::new(seed, 300);
        workshop.begin_cohort(4);
        let documents: usize =
            (0..damage::kinds()).map(|n| damage::story(&mut workshop, n).tokens.len()).sum();
        assert!(documents <= 300, "seed {seed}: {} kinds make {documents}", damage::kinds());
    }
}

#[test]
fn without_damage_there_is_only_the_bug_and_what_it_implies() {
    use FindingCode::{DoubleCounted, DuplicateSecrets, InconsistentStatus};
    let (_, _, truth) = generate_in_memory(&options(20_000, 3, false)).unwrap();
    for &code in FindingCode::ALL {
        let expected = matches!(code, InconsistentStatus | DoubleCounted | DuplicateSecrets);
        assert_eq!(count(&truth, code) > 0, expected, "{code}");
    }
    let fixed: u64 = per_user(&truth).map(|user| user["tokensFixed"].as_u64().unwrap()).sum();
    let delta: i64 = per_user(&truth).map(|user| user["delta"].as_i64().unwrap()).sum();
    assert_eq!(truth["impact"]["tokensToMigrate"].as_u64(), Some(fixed));
    assert_eq!(truth["impact"]["totalAmountAffected"].as_i64(), Some(-delta));
    assert_eq!(truth["stats"]["problematicTokens"].as_u64(), Some(fixed));
}

fn per_user(truth: &Value) -> impl Iterator<Item = &Value> {
    truth["perUser"].as_object().unwrap().values()
}

#[test]
fn with_damage_users_sum_to_the_impact_but_for_nobodys_documents() {
    let (_, _, truth) = generate_in_memory(&options(20_000, 3, true)).unwrap();
    let fixed: u64 = per_user(&truth).map(|user| user["tokensFixed"].as_u64().unwrap()).sum();
    let impact = &truth["impact"];
    let migrated = impact["tokensToMigrate"].as_u64().unwrap();
    assert!(fixed < migrated && migrated - fixed < 100, "{fixed} of {migrated}");
    assert_eq!(impact["affectedUsers"].as_u64().unwrap(), per_user(&truth).count() as u64);
    let problematic = truth["stats"]["problematicTokens"].as_u64().unwrap();
    let not_changed = truth["notChanged"]["duplicate_field"].as_u64().unwrap();
    assert_eq!(problematic, migrated + not_changed);
}

#[test]
fn every_document_is_valid_and_there_are_as_many_as_asked_for() {
    for damage in [false, true] {
        for tokens in [0, 1, 2, 7, 299, 5_000] {
            let (bytes, wallets, truth) =
                generate_in_memory(&options(tokens, tokens, damage)).unwrap();
            let (bytes, wallets) = (documents(&bytes), documents(&wallets));
            assert_eq!(bytes.len() as u64, tokens);
            assert_eq!(truth["stats"]["totalTokens"].as_u64(), Some(tokens));
            assert_eq!(truth["stats"]["totalWallets"].as_u64(), Some(wallets.len() as u64));
            for document in bytes.iter().chain(&wallets) {
                validate(document).unwrap();
            }
        }
    }
}

#[test]
fn a_ledger_is_about_as_dense_as_a_real_one() {
    let (bytes, _, truth) = generate_in_memory(&options(20_000, 1, false)).unwrap();
    let average = bytes.len() / 20_000;
    assert!((1_000..1_250).contains(&average), "{average} bytes a document");
    let melted = truth["stats"]["totalMeltedTokens"].as_u64().unwrap();
    assert!((1_400..1_800).contains(&melted), "{melted} melted of 20,000");
    let problematic = truth["stats"]["problematicTokens"].as_u64().unwrap();
    assert!((40..60).contains(&(problematic * 100 / melted)), "{problematic} of {melted}");
}

#[test]
fn files_hold_what_memory_holds_and_are_their_owners_only() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("ledger");
    let options = options(1_500, 9, true);
    let mut reported = Vec::new();
    let stats = generate(&out, &options, &mut |tokens| {
        reported.push(tokens);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(reported, [1_024, 1_500]);
    let (tokens, wallets, truth) = generate_in_memory(&options).unwrap();
    let read = |name: &str| std::fs::read(out.join(name)).unwrap();
    assert_eq!(read("nctool/cashu_tokens.bson"), tokens);
    assert_eq!(read("nctool/cashu_wallets.bson"), wallets);
    assert_eq!(serde_json::from_slice::<Value>(&read("truth.json")).unwrap(), truth);
    assert_eq!(stats.tokens_bytes, tokens.len() as u64);
    assert_eq!(stats.wallets_bytes, wallets.len() as u64);
    let mode = |name: &str| std::fs::metadata(out.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("."), mode("nctool")), (0o700, 0o700));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(out.join("nctool")).unwrap() {
        names.push(entry.unwrap().file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "cashu_tokens.bson",
            "cashu_tokens.metadata.json",
            "cashu_wallets.bson",
            "cashu_wallets.metadata.json",
            "prelude.json"
        ]
    );
    for name in names {
        assert_eq!(mode(&format!("nctool/{name}")), 0o600, "{name}");
    }
    assert_eq!(mode("truth.json"), 0o600);
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 2, "nothing temporary is left");
}

#[test]
fn metadata_names_the_indexes_of_the_real_dumps() {
    let directory = tempfile::tempdir().unwrap();
    generate(directory.path(), &options(10, 1, false), &mut |_| ControlFlow::Continue(())).unwrap();
    let text = std::fs::read(directory.path().join("nctool/cashu_tokens.metadata.json")).unwrap();
    let metadata: Value = serde_json::from_slice(&text).unwrap();
    let unique: Vec<&str> = metadata["indexes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|index| index["unique"] == true)
        .map(|index| index["name"].as_str().unwrap())
        .collect();
    assert_eq!(unique, ["transaction_id_1"]);
    assert_eq!(metadata["uuid"].as_str().unwrap().len(), 32);
}

#[test]
fn a_directory_that_holds_something_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mine"), "kept").unwrap();
    let refused =
        generate(directory.path(), &options(10, 1, false), &mut |_| ControlFlow::Continue(()))
            .unwrap_err();
    assert!(refused.to_string().contains("exists already"), "{refused}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
