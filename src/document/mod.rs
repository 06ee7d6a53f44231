//! Raw BSON documents: walking, reading and editing bytes.
//!
//! This layer owns the checks on document bytes and the exact edits of them. It never decodes into
//! objects, never re-encodes, never allocates while walking, and knows nothing of tokens, files or
//! servers. Everything read is hostile: a length is checked before it is believed and nesting is
//! bounded by [`DEPTH_MAX`].

mod build;
mod edit;
mod text;
mod value;
mod walk;

pub use build::DocumentBuilder;
pub use edit::{remove_field, set_field};
pub(crate) use text::push_hex;
pub use text::{date_text, holds_token, identifier_text, may_hold_secret};
pub use value::{Value, ValueKind, decimal128_to_i64};
pub use walk::{
    DEPTH_MAX, DOCUMENT_BYTES_MAX, DOCUMENT_BYTES_MIN, Element, Elements, Fault, Malformed,
    document_length, elements, find, validate, validate_value,
};
