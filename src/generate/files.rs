//! A generated ledger on disk, in mongodump's layout, with `truth.json` beside it.
//!
//! Every file is written under a temporary name in its own directory, flushed to the disk and renamed;
//! the truth comes last, so a directory that has one is whole.

use super::ledger::{OnTokens, Sink, Sinks, write_ledger};
use super::{GenerateOptions, GenerateStats};
use crate::progress::Interrupted;
use crate::publish::{PublishError, StagedDirectory, io_reason};
use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What closes `truth.json` after the last user.
pub(super) const TRUTH_TAIL: &[u8] = b"}}\n";

const DATABASE: &str = "nctool";
const TRUTH_FILE: &str = "truth.json";
const TOKENS_FILE: &str = "cashu_tokens.bson";
const WALLETS_FILE: &str = "cashu_wallets.bson";
const WRITE_BUFFER_BYTES: usize = 1 << 20;
const DIRECTORY_MODE: u32 = 0o700;

/// As mongodump writes it.
const PRELUDE: &str = r#"{"ServerVersion":"6.0.5","ToolVersion":"remelt generate"}"#;
/// The names, keys and uniqueness of the indexes that mongoose made.
const TOKENS_INDEXES: [(&str, &[&str], bool); 7] = [
    ("_id_", &["_id"], false),
    ("npub_1_status_1", &["npub", "status"], false),
    ("npub_1_transaction_type_1", &["npub", "transaction_type"], false),
    ("wallet_id_1_status_1", &["wallet_id", "status"], false),
    ("transaction_id_1", &["transaction_id"], true),
    ("mint_url_1_status_1", &["mint_url", "status"], false),
    ("proofs.secret_1", &["proofs.secret"], false),
];
const WALLETS_INDEXES: [(&str, &[&str], bool); 2] =
    [("_id_", &["_id"], false), ("npub_1_mint_url_1", &["npub", "mint_url"], true)];

/// Why no ledger was written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The directory can't be made or published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The user asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A file or directory could not be made or written.
    #[error("could not {action} {path}: {reason}; check the path and the free space and generate again", path = .path.display(), reason = io_reason(.error))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GenerateError {
    let path = path.to_path_buf();
    move |error| GenerateError::Io { action, path, error }
}

/// Writes a ledger and the truth about it to `out_dir`, which is made unless it is there and empty.
///
/// `on_tokens` is told now and then how many token documents are written so far, and at the end how
/// many there are; it says whether to go on.
///
/// # Errors
/// [`GenerateError`]; then there is no `out_dir`.
pub fn generate(
    out_dir: &Path,
    options: &GenerateOptions,
    on_tokens: OnTokens<'_>,
) -> Result<GenerateStats, GenerateError> {
    let staged = StagedDirectory::create(out_dir)?;
    let stats = write_files(staged.path(), options, on_tokens)?;
    staged.publish()?;
    Ok(stats)
}

fn write_files(
    out_dir: &Path,
    options: &GenerateOptions,
    on_tokens: OnTokens<'_>,
) -> Result<GenerateStats, GenerateError> {
    let database = out_dir.join(DATABASE);
    make_directory(&database)?;
    let mut sinks = Sinks {
        tokens: temporary(&database)?,
        wallets: temporary(&database)?,
        per_user: temporary(out_dir)?,
    };
    let (truth, stats) = write_ledger(options, &mut sinks, on_tokens).map_err(|failure| {
        if failure.error.kind() == io::ErrorKind::Interrupted {
            return Interrupted.into();
        }
        let path = match failure.sink {
            Sink::Tokens => database.join(TOKENS_FILE),
            Sink::Wallets => database.join(WALLETS_FILE),
            Sink::PerUser => out_dir.join(TRUTH_FILE),
        };
        failed("write", &path)(failure.error)
    })?;
    publish(sinks.tokens, &database.join(TOKENS_FILE))?;
    publish(sinks.wallets, &database.join(WALLETS_FILE))?;
    // A damaged ledger has ids twice, which a unique index would refuse when it is restored.
    publish_text(&metadata("cashu_tokens", options, &TOKENS_INDEXES), &database)?;
    publish_text(&metadata("cashu_wallets", options, &WALLETS_INDEXES), &database)?;
    publish_text(&("prelude.json".to_owned(), PRELUDE.to_owned()), &database)?;

    let truth_path = out_dir.join(TRUTH_FILE);
    let mut file = temporary(out_dir)?;
    truth
        .write_head(options.seed, options.damage, &mut file)
        .and_then(|()| append(sinks.per_user, &mut file))
        .and_then(|()| file.write_all(TRUTH_TAIL))
        .map_err(failed("write", &truth_path))?;
    publish(file, &truth_path)?;
    Ok(stats)
}

fn make_directory(path: &Path) -> Result<(), GenerateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(failed("make the directory", path))
}

/// A file under a temporary name in `directory`, for its owner only.
fn temporary(directory: &Path) -> Result<BufWriter<NamedTempFile>, GenerateError> {
    let file = NamedTempFile::new_in(directory).map_err(failed("make a file in", directory))?;
    Ok(BufWriter::with_capacity(WRITE_BUFFER_BYTES, file))
}

/// Flushes `file` to the disk and gives it its name.
fn publish(file: BufWriter<NamedTempFile>, path: &Path) -> Result<(), GenerateError> {
    let file = file.into_inner().map_err(|error| failed("write", path)(error.into_error()))?;
    file.as_file().sync_all().map_err(failed("flush", path))?;
    file.persist(path).map_err(|error| failed("rename a file to", path)(error.error))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(failed("flush the directory", directory))
}

fn publish_text((name, text): &(String, String), database: &Path) -> Result<(), GenerateError> {
    let path = database.join(name);
    let mut file = temporary(database)?;
    file.write_all(text.as_bytes()).map_err(failed("write", &path))?;
    publish(file, &path)
}

/// Copies what was written to `source` to the end of `file`.
fn append(source: BufWriter<NamedTempFile>, file: &mut impl Write) -> io::Result<()> {
    let mut source = source.into_inner().map_err(io::IntoInnerError::into_error)?;
    source.rewind()?;
    io::copy(&mut source, file)?;
    Ok(())
}

/// Name and text of a collection's metadata file, as mongodump writes it.
fn metadata(
    collection: &str,
    options: &GenerateOptions,
    indexes: &[(&str, &[&str], bool)],
) -> (String, String) {
    let indexes: Vec<String> = indexes
        .iter()
        .map(|(name, fields, unique)| {
            let keys: Vec<String> =
                fields.iter().map(|field| format!(r#""{field}":{{"$numberInt":"1"}}"#)).collect();
            let unique = if *unique && !options.damage { r#","unique":true"# } else { "" };
            let key = keys.join(",");
            format!(r#"{{"v":{{"$numberInt":"2"}},"key":{{{key}}},"name":"{name}"{unique}}}"#)
        })
        .collect();
    // A collection's uuid must only differ from others'; it is made of the options.
    let uuid = crate::model::hash_bytes(format!("{collection} {options:?}").as_bytes()).to_string();
    let text = format!(
        r#"{{"indexes":[{}],"uuid":"{}","collectionName":"{collection}","type":"collection"}}"#,
        indexes.join(","),
        &uuid[..32]
    );
    (format!("{collection}.metadata.json"), text)
}
