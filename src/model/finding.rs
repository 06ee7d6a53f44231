//! The integrity findings by name: codes and severities of `domain.md`.

use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Money is counted wrong, or a document can't be repaired.
    High,
    /// Data contradicts itself.
    Medium,
    /// Data is incomplete.
    Low,
}

impl Severity {
    /// The word in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::High => "high",
            Severity::Medium => "medium",
            Severity::Low => "low",
        }
    }
}

macro_rules! findings {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $severity:ident;)*) => {
        /// One kind of integrity problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FindingCode { $($(#[$doc])* $variant),* }

        impl FindingCode {
            /// Every code, in the order in which reports list them.
            pub const ALL: &[FindingCode] = &[$(FindingCode::$variant),*];

            /// The code in JSON and CSV.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(FindingCode::$variant => $code),* }
            }

            /// How much it matters.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(FindingCode::$variant => Severity::$severity),* }
            }
        }
    };
}

findings! {
    /// Melted and unspent: what the rule `melted_unspent` fixes.
    InconsistentStatus = "inconsistent_status", High;
    /// A secret that occurs in more than one proof; counted once a secret.
    DuplicateSecrets = "duplicate_secrets", High;
    /// `wallet_id` absent or null, or no wallet has it.
    OrphanedTokens = "orphaned_tokens", Medium;
    /// `total_amount` negative, null, absent or not an integer number.
    InvalidAmounts = "invalid_amounts", Medium;
    /// No `metadata.source`.
    MissingMetadata = "missing_metadata", Low;
    /// A user's balance at a mint is below zero in a status; counted once a user and mint.
    NegativeBalance = "negative_balance", High;
    /// `total_amount` is an amount but not the sum of the proofs' amounts.
    AmountMismatch = "amount_mismatch", Medium;
    /// A secret spendable here and gone there, or spendable twice; counted once a secret.
    DoubleCounted = "double_counted", High;
    /// Spent without a `spent_at` date, or with the date and not spent.
    SpentAtMismatch = "spent_at_mismatch", Low;
    /// `status` or `transaction_type` is none of the known words.
    UnknownStatus = "unknown_status", Medium;
    /// One `transaction_id` in several documents; counted once an id.
    DuplicateTransactionId = "duplicate_transaction_id", Medium;
    /// `npub` or `mint_url` differs from the wallet's.
    WalletMismatch = "wallet_mismatch", Medium;
    /// A field that the rule changes occurs twice in the document.
    DuplicateField = "duplicate_field", High;
    /// `npub` is not a bech32 `npub1…` with a valid checksum.
    MalformedNpub = "malformed_npub", Low;
    /// A melt that took more than it cost and has no change document.
    MissingChange = "missing_change", Medium;
}

impl FindingCode {
    /// Position in [`FindingCode::ALL`], for tables and bit masks.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The code whose word `text` is.
    #[must_use]
    pub fn from_code(text: &str) -> Option<FindingCode> {
        Self::ALL.iter().copied().find(|c| c.as_str() == text)
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
