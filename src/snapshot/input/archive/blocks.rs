//! The blocks of an archive: one collection's documents taken out, everything read on the way proven.
//!
//! Owns the order of blocks and the check sums. It never hands on a document of another namespace, and
//! never gives a collection's last documents before their check sum was compared.

use super::super::chunk::Chunk;
use super::super::error::{ArchiveFault, InputError, listed, shown};
use super::super::stream::Stream;
use super::prelude::{Namespace, Prelude, fields, names, read_prelude};
use super::window::Window;
use crate::document::{Value, ValueKind};
use crc_fast::{CrcAlgorithm, Digest};

/// How far a pass goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Until {
    /// To the collection's own end.
    CollectionEnd,
    /// To the end of the file, so that the whole archive is proven.
    ArchiveEnd,
}

/// One pass over an archive for one collection.
#[derive(Debug)]
pub(in super::super) struct ArchiveReader {
    window: Window,
    prelude: Prelude,
    /// By the number of the namespace in the prelude.
    states: Vec<State>,
    wanted: usize,
    until: Until,
    at: At,
}

#[derive(Debug)]
enum State {
    Unseen,
    Open(Box<Digest>),
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Between,
    /// In a block of the namespace with this number.
    In(usize),
    End,
}

/// What one step brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Onward,
    Done,
}

impl ArchiveReader {
    /// Begins a pass over `stream` for the collection `db`.`collection`.
    pub(in super::super) fn open(
        stream: Stream,
        db: &str,
        collection: &str,
        until: Until,
    ) -> Result<ArchiveReader, InputError> {
        let mut window = Window::new(stream);
        let prelude = read_prelude(&mut window, &[])?;
        let Some(wanted) = prelude.find(db, collection) else {
            let name = shown(&format!("{db}.{collection}"));
            return Err(window.archive(window.offset(), ArchiveFault::Unfinished(name)));
        };
        Ok(ArchiveReader {
            states: prelude.namespaces.iter().map(|_| State::Unseen).collect(),
            window,
            prelude,
            wanted,
            until,
            at: At::Between,
        })
    }

    pub(in super::super) fn stream(&self) -> &Stream {
        self.window.stream()
    }

    /// Adds documents to `chunk` until it holds `chunk_bytes_min` or the pass ends.
    pub(in super::super) fn read(
        &mut self,
        chunk_bytes_min: usize,
        chunk: &mut Chunk,
    ) -> Result<(), InputError> {
        while chunk.length() < chunk_bytes_min {
            let step = match self.at {
                At::Between => self.next_block()?,
                At::In(number) => self.next_document(number, chunk)?,
                At::End => Step::Done,
            };
            if step == Step::Done {
                break;
            }
        }
        Ok(())
    }

    fn next_document(&mut self, number: usize, chunk: &mut Chunk) -> Result<Step, InputError> {
        let offset = self.window.offset();
        let Some(document) = self.window.document()? else {
            self.at = At::Between;
            return Ok(Step::Onward);
        };
        let State::Open(digest) = &mut self.states[number] else {
            let name = self.prelude.namespaces[number].shown();
            return Err(self.window.archive(offset, ArchiveFault::DocumentsInEnd(name)));
        };
        digest.update(document);
        if number == self.wanted {
            if chunk.needs_run(offset) {
                chunk.begin_run(offset);
            }
            chunk.push(document);
        }
        Ok(Step::Onward)
    }

    fn next_block(&mut self) -> Result<Step, InputError> {
        let wanted_ended = matches!(self.states[self.wanted], State::Ended);
        if wanted_ended && self.until == Until::CollectionEnd {
            self.at = At::End;
            return Ok(Step::Done);
        }
        let offset = self.window.offset();
        if self.window.is_at_end()? {
            self.all_ended().map_err(|fault| self.window.archive(offset, fault))?;
            self.at = At::End;
            return Ok(Step::Done);
        }
        let entered = match self.window.document()? {
            None => Err(ArchiveFault::Header("the header of a block")),
            Some(document) => enter(&self.prelude, &mut self.states, document),
        };
        let number = entered.map_err(|fault| self.window.archive(offset, fault))?;
        self.at = At::In(number);
        Ok(Step::Onward)
    }

    /// Views have no documents and thus no end; whatever was begun, and every collection, has one.
    fn all_ended(&self) -> Result<(), ArchiveFault> {
        let owed = |(namespace, state): &(&Namespace, &State)| match state {
            State::Ended => false,
            State::Open(_) => true,
            State::Unseen => namespace.is_collection(),
        };
        let mut owing = self.prelude.namespaces.iter().zip(&self.states).filter(owed).peekable();
        if owing.peek().is_none() {
            return Ok(());
        }
        let names =
            owing.map(|(namespace, _)| format!("{}.{}", namespace.db, namespace.collection));
        Err(ArchiveFault::Unfinished(listed(names)))
    }
}

/// Takes in a block's header; gives the number of its namespace.
fn enter(prelude: &Prelude, states: &mut [State], header: &[u8]) -> Result<usize, ArchiveFault> {
    let [db, collection, end, crc] = fields(header, [b"db", b"collection", b"EOF", b"CRC"])?;
    let (db, collection) = names(db, collection)?;
    let name = || shown(&format!("{db}.{collection}"));
    let number = prelude.find(db, collection).ok_or_else(|| ArchiveFault::Unknown(name()))?;
    let is_end = boolean(end).ok_or(ArchiveFault::Header("true or false in EOF"))?;
    let stated = crc
        .filter(|value| value.kind == ValueKind::Int64)
        .and_then(|value| value.bytes.first_chunk())
        .map(|bytes| u64::from_le_bytes(*bytes))
        .ok_or(ArchiveFault::Header("a 64-bit integer in CRC"))?;
    if matches!(states[number], State::Unseen) {
        states[number] = State::Open(Box::new(Digest::new(CrcAlgorithm::Crc64Xz)));
    }
    let State::Open(digest) = &states[number] else {
        return Err(ArchiveFault::AfterEnd(name()));
    };
    if is_end {
        let found = digest.finalize();
        if found != stated {
            return Err(ArchiveFault::CheckSum { namespace: name(), stated, found });
        }
        states[number] = State::Ended;
    }
    Ok(number)
}

fn boolean(value: Option<Value<'_>>) -> Option<bool> {
    let value = value.filter(|value| value.kind == ValueKind::Boolean)?;
    value.bytes.first().map(|&byte| byte == 1)
}
