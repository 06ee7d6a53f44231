//! MongoDB's wire protocol, for tests that stand between a client and a server.

use tokio::io::{AsyncRead, AsyncReadExt};

const MESSAGE_BYTES_MAX: usize = 48_000_000;
const HEADER_BYTES: usize = 16;
const OP_MSG: i32 = 2013;
/// What follows the header: the flags, and the kind of the first section.
const BEFORE_BODY_BYTES: usize = 4 + 1;
/// The sender would take more than one reply; it need not get them.
const EXHAUST_ALLOWED: u32 = 1 << 16;

/// One message with its header, or `None` at the end.
pub(crate) async fn read_message(from: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await.ok()?;
    let bytes = usize::try_from(i32::from_le_bytes(length)).unwrap();
    assert!((HEADER_BYTES..=MESSAGE_BYTES_MAX).contains(&bytes), "a message of {bytes} bytes");
    let mut message = vec![0; bytes];
    message[..4].copy_from_slice(&length);
    from.read_exact(&mut message[4..]).await.ok()?;
    Some(message)
}

/// Whether a message is an `OP_MSG`, the only form that drivers and servers of today send.
pub(crate) fn is_op_msg(message: &[u8]) -> bool {
    number_at(message, 12) == OP_MSG
}

/// The sender's number of a message.
pub(crate) fn number_of(message: &[u8]) -> i32 {
    number_at(message, 4)
}

/// The document of an `OP_MSG` that holds one and nothing else: no checksum, no sequence of documents.
pub(crate) fn body(message: &[u8]) -> &[u8] {
    assert!(is_op_msg(message), "a message of operation {}", number_at(message, 12));
    let flags = number_at(message, HEADER_BYTES).cast_unsigned();
    assert_eq!(flags & !EXHAUST_ALLOWED, 0, "a message with flags of unknown meaning");
    let kind = message[HEADER_BYTES + 4];
    let body = &message[HEADER_BYTES + BEFORE_BODY_BYTES..];
    let bytes = usize::try_from(number_at(body, 0)).unwrap();
    assert_eq!((kind, bytes), (0, body.len()), "a message of more than one document");
    body
}

/// An `OP_MSG` of one document.
pub(crate) fn message(number: i32, reply_to: i32, body: &[u8]) -> Vec<u8> {
    let bytes = HEADER_BYTES + BEFORE_BODY_BYTES + body.len();
    let header = [i32::try_from(bytes).unwrap(), number, reply_to, OP_MSG];
    let mut message: Vec<u8> = header.iter().flat_map(|number| number.to_le_bytes()).collect();
    message.extend([0; BEFORE_BODY_BYTES]);
    message.extend(body);
    message
}

fn number_at(bytes: &[u8], place: usize) -> i32 {
    i32::from_le_bytes(bytes[place..place + 4].try_into().unwrap())
}
