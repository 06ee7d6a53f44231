//! Values: types, sizes, and typed reads of their bytes.

use super::walk::{DOCUMENT_BYTES_MIN, Fault, Malformed, validate_at};

macro_rules! value_kinds {
    ($($(#[$doc:meta])* $name:ident = $byte:literal),* $(,)?) => {
        /// A value's type, by the specification's type byte.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum ValueKind {
            $($(#[$doc])* $name = $byte),*
        }

        impl ValueKind {
            /// Every type.
            pub const ALL: &[ValueKind] = &[$(ValueKind::$name),*];

            /// The type of a type byte; `None` when the specification has none.
            #[inline]
            #[must_use]
            pub const fn from_byte(byte: u8) -> Option<ValueKind> {
                match byte {
                    $($byte => Some(ValueKind::$name),)*
                    _ => None,
                }
            }

            /// The type byte.
            #[inline]
            #[must_use]
            pub const fn byte(self) -> u8 {
                match self {
                    $(ValueKind::$name => $byte),*
                }
            }
        }
    };
}

value_kinds! {
    /// 64-bit binary floating point.
    Double = 0x01,
    /// Text.
    String = 0x02,
    /// Embedded document.
    Document = 0x03,
    /// Array: a document whose names are ignored.
    Array = 0x04,
    /// Binary with a subtype.
    Binary = 0x05,
    /// Undefined (deprecated).
    Undefined = 0x06,
    /// Object id, 12 bytes.
    ObjectId = 0x07,
    /// Boolean.
    Boolean = 0x08,
    /// UTC date, milliseconds since 1970.
    DateTime = 0x09,
    /// Null.
    Null = 0x0a,
    /// Regular expression.
    Regex = 0x0b,
    /// DBPointer (deprecated).
    DbPointer = 0x0c,
    /// JavaScript.
    Code = 0x0d,
    /// Symbol (deprecated).
    Symbol = 0x0e,
    /// JavaScript with scope (deprecated).
    CodeWithScope = 0x0f,
    /// 32-bit integer.
    Int32 = 0x10,
    /// Internal timestamp.
    Timestamp = 0x11,
    /// 64-bit integer.
    Int64 = 0x12,
    /// 128-bit decimal.
    Decimal128 = 0x13,
    /// Sorts above everything.
    MaxKey = 0x7f,
    /// Sorts below everything.
    MinKey = 0xff,
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    let head = bytes.get(at..)?.first_chunk::<4>()?;
    Some(i32::from_le_bytes(*head))
}

/// Size of the string at `at`: its length field, text and 0, all checked against `bytes`.
fn string_bytes(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let claimed = i32_at(bytes, at).ok_or(Fault::Overrun)?;
    let text = usize::try_from(claimed).map_err(|_| Fault::StringLength(claimed))?;
    if text == 0 {
        return Err(Fault::StringLength(claimed));
    }
    match bytes.get(at + 4 + text - 1) {
        Some(0) => Ok(4 + text),
        Some(_) => Err(Fault::StringLength(claimed)),
        None => Err(Fault::Overrun),
    }
}

fn cstring_bytes(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let rest = bytes.get(at..).ok_or(Fault::Overrun)?;
    let length = rest.iter().position(|&b| b == 0).ok_or(Fault::Overrun)?;
    Ok(length + 1)
}

impl ValueKind {
    /// Size in bytes of the value of this type that begins `rest`. The size may pass the end of
    /// `rest`; the caller checks that.
    #[inline]
    pub(super) fn measure(self, rest: &[u8]) -> Result<usize, Fault> {
        Ok(match self {
            ValueKind::Undefined | ValueKind::Null | ValueKind::MaxKey | ValueKind::MinKey => 0,
            ValueKind::Boolean => match rest.first() {
                Some(0 | 1) => 1,
                Some(&odd) => return Err(Fault::Boolean(odd)),
                None => return Err(Fault::Overrun),
            },
            ValueKind::Int32 => 4,
            ValueKind::Double | ValueKind::DateTime | ValueKind::Timestamp | ValueKind::Int64 => 8,
            ValueKind::ObjectId => 12,
            ValueKind::Decimal128 => 16,
            ValueKind::String | ValueKind::Code | ValueKind::Symbol => string_bytes(rest, 0)?,
            ValueKind::Document | ValueKind::Array => {
                let claimed = i32_at(rest, 0).ok_or(Fault::Overrun)?;
                match usize::try_from(claimed) {
                    Ok(length) if length >= DOCUMENT_BYTES_MIN => length,
                    _ => return Err(Fault::Length(claimed)),
                }
            }
            ValueKind::Binary => {
                let claimed = i32_at(rest, 0).ok_or(Fault::Overrun)?;
                let length = usize::try_from(claimed).map_err(|_| Fault::BinaryLength(claimed))?;
                4 + 1 + length
            }
            ValueKind::Regex => {
                let pattern = cstring_bytes(rest, 0)?;
                pattern + cstring_bytes(rest, pattern)?
            }
            ValueKind::DbPointer => string_bytes(rest, 0)? + 12,
            ValueKind::CodeWithScope => {
                let claimed = i32_at(rest, 0).ok_or(Fault::Overrun)?;
                // Its own length, a string of at least 5 bytes, a document of at least 5.
                match usize::try_from(claimed) {
                    Ok(length) if length >= 4 + 5 + DOCUMENT_BYTES_MIN => length,
                    _ => return Err(Fault::Length(claimed)),
                }
            }
        })
    }
}

/// A value in place: its type and the bytes that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// The type.
    pub kind: ValueKind,
    /// The bytes after the element's name; empty for null and its like.
    pub bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// The text of a string when it is UTF-8; `None` for any other type or encoding.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.as_text_bytes()?).ok()
    }

    /// The bytes of a string, which may not be UTF-8; `None` for any other type.
    #[inline]
    #[must_use]
    pub fn as_text_bytes(self) -> Option<&'a [u8]> {
        match self.kind {
            ValueKind::String => self.bytes.get(4..self.bytes.len().checked_sub(1)?),
            _ => None,
        }
    }

    /// Milliseconds since 1970 of a date; `None` for any other type.
    #[must_use]
    pub fn as_date_ms(self) -> Option<i64> {
        match self.kind {
            ValueKind::DateTime => Some(i64::from_le_bytes(*self.bytes.first_chunk()?)),
            _ => None,
        }
    }

    /// The value as an amount: a 32- or 64-bit integer, an integral double within ±2^53, an integral
    /// decimal within `i64` (`domain.md`, Amounts). `None` for everything else, NaN and infinities
    /// included.
    #[inline]
    #[must_use]
    pub fn as_amount(self) -> Option<i64> {
        match self.kind {
            ValueKind::Int32 => Some(i64::from(i32::from_le_bytes(*self.bytes.first_chunk()?))),
            ValueKind::Int64 => Some(i64::from_le_bytes(*self.bytes.first_chunk()?)),
            ValueKind::Double => integral_double(f64::from_le_bytes(*self.bytes.first_chunk()?)),
            ValueKind::Decimal128 => {
                decimal128_to_i64(u128::from_le_bytes(*self.bytes.first_chunk()?))
            }
            _ => None,
        }
    }

    /// Whether this is null. The server's queries treat an absent field alike; callers decide.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.kind == ValueKind::Null
    }

    /// Checks what is nested in this value; `base` is where its bytes begin in the outermost document
    /// and `depth` the level of the document that holds it.
    #[inline]
    pub(super) fn validate_inside(self, base: usize, depth: usize) -> Result<(), Malformed> {
        match self.kind {
            ValueKind::Document | ValueKind::Array => validate_at(self.bytes, base, depth + 1),
            ValueKind::CodeWithScope => {
                let at = |offset: usize| move |fault| Malformed { offset: base + offset, fault };
                let code = string_bytes(self.bytes, 4).map_err(at(4))?;
                let scope = 4 + code;
                let inner = self.bytes.get(scope..).ok_or(at(scope)(Fault::Overrun))?;
                validate_at(inner, base + scope, depth + 1)
            }
            _ => Ok(()),
        }
    }
}

/// Decodes an IEEE 754 double into the integer it holds, by its bits: no floating point arithmetic.
fn integral_double(value: f64) -> Option<i64> {
    const FRACTION_BITS: u32 = 52;
    const EXPONENT_BIAS: i64 = 1023;
    let bits = value.to_bits();
    let exponent_bits = (bits >> FRACTION_BITS) & 0x7ff;
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    if exponent_bits == 0 {
        // Zero of either sign, or a subnormal, which is no integer.
        return (fraction == 0).then_some(0);
    }
    let exponent = i64::try_from(exponent_bits).ok()? - EXPONENT_BIAS;
    let shift = u32::try_from(exponent).ok()?;
    let significand = fraction | (1 << FRACTION_BITS);
    let magnitude = if shift <= FRACTION_BITS {
        let drop = FRACTION_BITS - shift;
        if significand & ((1_u64 << drop) - 1) != 0 {
            return None;
        }
        significand >> drop
    } else if shift == FRACTION_BITS + 1 && fraction == 0 {
        1 << 53
    } else {
        return None;
    };
    let magnitude = i64::try_from(magnitude).ok()?;
    Some(if value.is_sign_negative() { -magnitude } else { magnitude })
}

/// The integer that an IEEE 754-2008 decimal128 in MongoDB's binary integer encoding holds, when it is
/// finite, integral and within `i64`.
#[must_use]
pub fn decimal128_to_i64(bits: u128) -> Option<i64> {
    const EXPONENT_BIAS: i32 = 6176;
    const COEFFICIENT_MAX: u128 = 10_u128.pow(34) - 1;
    let negative = bits >> 127 == 1;
    let (exponent, coefficient) = if (bits >> 125) & 0b11 == 0b11 {
        if (bits >> 123) & 0b1111 == 0b1111 {
            return None; // infinity or NaN
        }
        // The second form's coefficients all exceed 34 digits, which the standard reads as zero.
        ((bits >> 111) & 0x3fff, 0)
    } else {
        ((bits >> 113) & 0x3fff, bits & ((1 << 113) - 1))
    };
    let coefficient = if coefficient > COEFFICIENT_MAX { 0 } else { coefficient };
    if coefficient == 0 {
        return Some(0);
    }
    let exponent = i32::try_from(exponent).ok()? - EXPONENT_BIAS;
    let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
    let magnitude = if exponent >= 0 {
        coefficient.checked_mul(power)?
    } else if coefficient % power == 0 {
        coefficient / power
    } else {
        return None;
    };
    let signed = i128::try_from(magnitude).ok()?;
    i64::try_from(if negative { -signed } else { signed }).ok()
}
