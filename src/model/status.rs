//! What a token's `status` and `transaction_type` may say.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// Every one, in the domain's order.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// The word in the data.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// The one whose word `bytes` is, or `None` for any other text.
            #[inline]
            #[must_use]
            pub fn from_bytes(bytes: &[u8]) -> Option<$name> {
                $(if bytes == $word.as_bytes() { return Some($name::$variant); })*
                None
            }
        }
    };
}

words! {
    /// A token's `status`.
    Status {
        /// Counts towards the balance.
        Unspent = "unspent",
        /// Gone.
        Spent = "spent",
        /// Reserved by an operation under way.
        Pending = "pending",
        /// The operation failed.
        Failed = "failed",
    }
}

impl Status {
    /// Whether the service would still let the user spend it.
    #[must_use]
    pub const fn is_spendable(self) -> bool {
        matches!(self, Status::Unspent | Status::Pending)
    }
}

words! {
    /// A token's `transaction_type`.
    TransactionType {
        /// Came from another user.
        Received = "received",
        /// Went to another user.
        Sent = "sent",
        /// Bought over Lightning.
        Minted = "minted",
        /// Paid out over Lightning.
        Melted = "melted",
        /// What was left of an operation.
        Change = "change",
    }
}
