//! The append-only file: header, frames, hash chain.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | [`HEADER`]: `RMLTJNL` and the version, 1 |
//! | 4 | length of the payload, little-endian |
//! | 4 | the same with every bit inverted |
//! | length | payload: one [`Record`] as compact JSON |
//! | 32 | SHA-256 of the previous chain hash, the 4 length bytes and the payload |
//!
//! and so on from the second row. Before the first frame the chain hash is the SHA-256 of the header.
//! Every record is synced before [`Journal::append_all`] returns. So a crash can only leave frames at the end that nobody
//! was told of, the last of which ends early, or zeros; that tail is dropped. Anything else that does not fit was
//! damaged later and is an error.

use super::record::Record;
use crate::model::{Sha256Hash, hash_bytes};
use crate::publish::{io_reason, refuse_irregular};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The first bytes of a journal: its name and version 1.
pub const HEADER: [u8; 8] = *b"RMLTJNL\x01";
/// Largest payload.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Largest journal that is read, in bytes.
const JOURNAL_BYTES_MAX: u64 = 1 << 30;

const LENGTH_BYTES: usize = 4;
const HASH_BYTES: usize = 32;

/// Why a journal can't be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file operation failed.
    #[error("could not {action} {}: {}", path.display(), io_reason(source))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file does not begin as a journal of a known version.
    #[error("{} is not a journal of version 1; move it away if it is none of remelt's", .0.display())]
    Header(PathBuf),
    /// A frame is damaged.
    #[error(
        "{}: frame {frame} at byte {offset} is damaged ({what}); nothing was written: keep a copy of the \
         file, move it away and run the same command again, which then relies on the database's journal",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Number of the frame, from 0.
        frame: usize,
        /// Where it begins.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A sync failed before, so what is on disk is not known.
    #[error("{}: an earlier sync of the journal failed, so nothing more is written in this run", .0.display())]
    Poisoned(PathBuf),
    /// A record can't be written.
    #[error("a journal record exceeds {PAYLOAD_BYTES_MAX} bytes")]
    RecordTooLarge,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    head: Sha256Hash,
    is_poisoned: bool,
}

fn chain(previous: Sha256Hash, length: [u8; LENGTH_BYTES], payload: &[u8]) -> Sha256Hash {
    let mut hasher = Sha256::new();
    hasher.update(previous.0);
    hasher.update(length);
    hasher.update(payload);
    Sha256Hash(hasher.finalize().into())
}

fn length_bytes(payload: &[u8]) -> Option<[u8; LENGTH_BYTES]> {
    let length = u32::try_from(payload.len()).ok()?;
    (payload.len() <= PAYLOAD_BYTES_MAX).then_some(length.to_le_bytes())
}

fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> JournalError + 'a {
    move |source| JournalError::Io { action, path: path.to_path_buf(), source }
}

impl Journal {
    /// Creates the journal `path`, which must not exist.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn create(path: &Path) -> Result<Journal, JournalError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let mut file = options.open(path).map_err(at("create", path))?;
        file.write_all(&HEADER).map_err(at("write", path))?;
        file.sync_all().map_err(at("sync", path))?;
        let head = hash_bytes(&HEADER);
        Ok(Journal { path: path.to_path_buf(), file, head, is_poisoned: false })
    }

    /// Opens a journal, drops an unacknowledged tail, and gives the records.
    ///
    /// # Errors
    /// [`JournalError`]; a damaged journal is left as it is.
    pub fn open(path: &Path) -> Result<(Journal, Vec<Record>), JournalError> {
        refuse_irregular(path).map_err(at("open", path))?;
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).open(path).map_err(at("open", path))?;
        if file.metadata().map_err(at("read", path))?.len() > JOURNAL_BYTES_MAX {
            return Err(JournalError::Header(path.to_path_buf()));
        }
        let mut bytes = Vec::new();
        (&mut file).take(JOURNAL_BYTES_MAX).read_to_end(&mut bytes).map_err(at("read", path))?;
        let is_torn_header = HEADER.starts_with(&bytes) && bytes.len() < HEADER.len();
        if is_torn_header {
            bytes = HEADER.to_vec();
            file.seek(SeekFrom::Start(0)).map_err(at("write", path))?;
            file.write_all(&HEADER).map_err(at("write", path))?;
        }
        if !bytes.starts_with(&HEADER) {
            return Err(JournalError::Header(path.to_path_buf()));
        }
        let (records, head, end) = replay(path, &bytes)?;
        file.set_len(end as u64).map_err(at("cut the tail of", path))?;
        file.sync_all().map_err(at("sync", path))?;
        file.seek(SeekFrom::End(0)).map_err(at("read", path))?;
        Ok((Journal { path: path.to_path_buf(), file, head, is_poisoned: false }, records))
    }

    /// The chain hash after the last record, which binds all of them.
    #[must_use]
    pub fn head(&self) -> Sha256Hash {
        self.head
    }

    /// Appends a record and syncs it to disk.
    ///
    /// # Errors
    /// As [`append_all`](Self::append_all).
    pub fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        self.append_all(std::slice::from_ref(record))
    }

    /// Appends records and syncs them to disk, all at once.
    ///
    /// # Errors
    /// [`JournalError`]. After a failed write or sync every later call fails with
    /// [`JournalError::Poisoned`], as nothing is known of what reached the disk.
    pub fn append_all(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if self.is_poisoned {
            return Err(JournalError::Poisoned(self.path.clone()));
        }
        let (mut head, mut frames) = (self.head, Vec::new());
        for record in records {
            let payload = serde_json::to_vec(record).map_err(|_| JournalError::RecordTooLarge)?;
            let length = length_bytes(&payload).ok_or(JournalError::RecordTooLarge)?;
            head = chain(head, length, &payload);
            let inverted = length.map(|byte| !byte);
            for part in [&length[..], &inverted, &payload, &head.0] {
                frames.extend_from_slice(part);
            }
        }
        self.is_poisoned = true;
        self.file.write_all(&frames).map_err(at("write", &self.path))?;
        self.file.sync_data().map_err(at("sync", &self.path))?;
        self.is_poisoned = false;
        self.head = head;
        Ok(())
    }
}

/// The records, the chain hash after them, and where the good bytes end.
fn replay(path: &Path, bytes: &[u8]) -> Result<(Vec<Record>, Sha256Hash, usize), JournalError> {
    let mut head = hash_bytes(&HEADER);
    let mut records = Vec::new();
    let mut position = HEADER.len();
    while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
        let damaged = |what| JournalError::Damaged {
            path: path.to_path_buf(),
            frame: records.len(),
            offset: position as u64,
            what,
        };
        if rest.iter().all(|byte| *byte == 0) {
            break;
        }
        let Some((length, body)) = rest.split_first_chunk::<LENGTH_BYTES>() else {
            break;
        };
        let Some((inverted, body)) = body.split_first_chunk::<LENGTH_BYTES>() else {
            break;
        };
        let claimed = u32::from_le_bytes(*length);
        if *inverted != length.map(|byte| !byte) {
            return Err(damaged("its length and the inverse of it do not fit"));
        }
        let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
        if claimed > PAYLOAD_BYTES_MAX {
            return Err(damaged("its length is beyond any that is written"));
        }
        let Some(payload) = body.get(..claimed) else {
            break;
        };
        let Some(stored) = body.get(claimed..claimed + HASH_BYTES) else {
            break;
        };
        let expected = chain(head, *length, payload);
        if stored != expected.0 {
            return Err(damaged("its hash does not fit"));
        }
        let record = serde_json::from_slice(payload);
        records.push(record.map_err(|_| damaged("its content is not of this version"))?);
        head = expected;
        position += 2 * LENGTH_BYTES + claimed + HASH_BYTES;
    }
    Ok((records, head, position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn record(batch: u64) -> Record {
        Record::Intended { batch, from: 0, changes: 500 }
    }

    fn journal_of(path: &Path, batches: u64) -> Vec<usize> {
        let mut journal = Journal::create(path).unwrap();
        let mut ends = vec![HEADER.len()];
        for batch in 0..batches {
            journal.append(&record(batch)).unwrap();
            ends.push(usize::try_from(fs::metadata(path).unwrap().len()).unwrap());
        }
        ends
    }

    #[test]
    fn records_are_read_back_and_appending_goes_on() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal");
        journal_of(&path, 3);
        let (mut journal, records) = Journal::open(&path).unwrap();
        assert_eq!(records, (0..3).map(record).collect::<Vec<_>>());
        journal.append(&record(3)).unwrap();
        let head = journal.head();
        let (journal, records) = Journal::open(&path).unwrap();
        assert_eq!((records.len(), journal.head()), (4, head));
    }

    #[test]
    fn many_records_at_once_are_the_same_bytes_as_one_after_another() {
        let root = tempfile::tempdir().unwrap();
        let (single, many) = (root.path().join("single"), root.path().join("many"));
        journal_of(&single, 3);
        let mut journal = Journal::create(&many).unwrap();
        journal.append_all(&[record(0), record(1)]).unwrap();
        journal.append_all(&[]).unwrap();
        journal.append_all(&[record(2)]).unwrap();
        assert_eq!(fs::read(&many).unwrap(), fs::read(&single).unwrap());
        assert_eq!(journal.head(), Journal::open(&single).unwrap().0.head());
    }

    #[test]
    fn a_torn_tail_is_dropped_wherever_it_was_torn_and_whatever_was_zeroed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal");
        let ends = journal_of(&path, 3);
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            let kept = ends.iter().filter(|end| **end <= cut).count().max(1) - 1;
            for zeros in [0, 1, 100] {
                if zeros > 0 && !ends.contains(&cut) {
                    continue;
                }
                fs::write(&path, [&whole[..cut], &vec![0; zeros]].concat()).unwrap();
                let (_, records) = Journal::open(&path).unwrap();
                assert_eq!(records.len(), kept, "cut at {cut}, {zeros} zeros");
            }
        }
    }

    #[test]
    fn every_altered_bit_is_detected_and_names_its_frame() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal");
        let ends = journal_of(&path, 3);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut altered = whole.clone();
                altered[at] ^= 1 << bit;
                fs::write(&path, &altered).unwrap();
                let error = Journal::open(&path).unwrap_err();
                if let JournalError::Damaged { frame, offset, .. } = error {
                    assert_eq!(ends[frame] as u64, offset);
                    assert!(ends[frame] <= at && at < ends[frame + 1], "byte {at} bit {bit}");
                } else {
                    assert!(at < HEADER.len(), "byte {at} bit {bit}: {error}");
                }
                assert_eq!(fs::read(&path).unwrap(), altered, "a damaged journal stays as it is");
            }
        }
    }

    #[test]
    fn a_short_file_that_is_no_beginning_of_a_journal_is_refused_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal");
        for foreign in [&b"R\0"[..], b"notes", b"RMLTJNL\x02"] {
            fs::write(&path, foreign).unwrap();
            assert!(matches!(Journal::open(&path), Err(JournalError::Header(_))), "{foreign:?}");
            assert_eq!(fs::read(&path).unwrap(), foreign);
        }
    }

    #[test]
    fn a_journal_beyond_the_largest_is_refused_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal");
        let mut file = File::create(&path).unwrap();
        file.write_all(&HEADER).unwrap();
        // Sparse, and zeros are a tail that would be cut off.
        file.set_len(JOURNAL_BYTES_MAX + 1).unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Header(_))));
        assert_eq!(file.metadata().unwrap().len(), JOURNAL_BYTES_MAX + 1);
    }

    #[test]
    fn a_frame_longer_than_any_that_is_written_is_damage_and_no_torn_tail() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal");
        for (length, is_written) in [
            (PAYLOAD_BYTES_MAX, true),
            (PAYLOAD_BYTES_MAX + 1, false),
            (PAYLOAD_BYTES_MAX * 2, false),
        ] {
            assert_eq!(length_bytes(&vec![b' '; length]).is_some(), is_written);
            let length = u32::try_from(length).unwrap().to_le_bytes();
            let head = [&HEADER[..], &length, &length.map(|byte| !byte)].concat();
            fs::write(&path, &head).unwrap();
            match Journal::open(&path) {
                Ok((_, records)) => assert!(is_written && records.is_empty()),
                Err(JournalError::Damaged { frame: 0, .. }) => assert!(!is_written),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn the_first_version_stays_readable_byte_for_byte() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("journal");
        journal_of(&path, 1);
        let bytes = fs::read(&path).unwrap();
        let json = br#"{"event":"intended","batch":0,"from":0,"changes":500}"#;
        let length = u32::try_from(json.len()).unwrap().to_le_bytes();
        assert_eq!(&bytes[..8], b"RMLTJNL\x01");
        assert_eq!(&bytes[8..12], length);
        assert_eq!(&bytes[12..16], length.map(|byte| !byte));
        assert_eq!(&bytes[16..16 + json.len()], json);
        assert_eq!(bytes.len(), 16 + json.len() + 32);
    }
}
