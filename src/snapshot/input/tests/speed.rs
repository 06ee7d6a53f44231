use super::*;
use crate::model::hash_bytes;
use std::time::Instant;

/// Reads the inputs named in `REMELT_INPUTS` (separated by `:`) twice and prints what they hold and
/// how long it took: `cargo test --release --lib -- --ignored --nocapture inputs_by_hand`.
#[test]
#[ignore = "reads inputs that the environment names"]
fn inputs_by_hand() {
    for path in std::env::var("REMELT_INPUTS").unwrap().split(':') {
        let input = open(Path::new(path)).unwrap();
        println!("{path}: db {:?}, notes {:?}", input.db, input.notes);
        for collection in [Some(&input.tokens), input.wallets.as_ref()].into_iter().flatten() {
            let mut chunk = Chunk::default();
            for pass in 0..3 {
                let began = Instant::now();
                let mut reader = collection.read().unwrap();
                let (mut length, mut count) = (0, 0);
                while reader.next_chunk(&mut chunk).unwrap() {
                    length += chunk.bytes().len();
                    count += chunk.documents;
                }
                let took = began.elapsed();
                println!(
                    "  {} pass {pass}: {count} documents, {length} bytes, {took:?}",
                    collection.name
                );
            }
            if collection.stored_bytes() < 100 * 1024 * 1024 {
                println!("  sha256 {}", hash_bytes(&bytes(collection).unwrap()));
            }
        }
    }
}
