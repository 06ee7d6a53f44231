//! `mongodump --archive` files.
//!
//! Layout (mongo-tools, `common/archive/spec.md`), all of it after decompression:
//!
//! ```text
//! archive  = 6d e2 99 81, header document, metadata document *, ff ff ff ff, block *
//! metadata = { db, collection, metadata: JSON text, size, type }
//! block    = { db, collection, EOF: false, CRC: 0 }, document *, ff ff ff ff
//!          | { db, collection, EOF: true, CRC }, ff ff ff ff
//! ```
//!
//! Blocks of several namespaces interleave. The CRC is CRC-64/XZ (Go's `crc64.ECMA`) over all
//! document bytes of the namespace.
//!
//! Owns this layout and its proof: check sums, stated ends, the end of the file. A name from inside an
//! archive is compared and shown, and never becomes a path.

mod blocks;
mod prelude;
mod window;

pub(super) use blocks::{ArchiveReader, Until};
pub(super) use prelude::{MAGIC, Namespace, Prelude, read_prelude};

use super::stream::Stream;

/// Begins reading an archive's stream.
pub(super) fn window(stream: Stream) -> window::Window {
    window::Window::new(stream)
}
