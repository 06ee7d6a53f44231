//! One ledger, written as it is made: stories in, documents out in the order of their time.
//!
//! A story's later documents wait in a queue until the clock has reached them, so that copies of a
//! secret stand far apart in the file, as in life. The queue is bounded by the longest delay, the users
//! by the cohort; neither grows with the ledger.

use super::damage;
use super::healthy;
use super::story::Story;
use super::truth::Truth;
use super::workshop::Workshop;
use super::{GenerateOptions, GenerateStats};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};
use std::ops::ControlFlow;

/// A cohort retires after so many documents.
const COHORT_TOKENS: u64 = 8_192;
/// How many documents there are for each ordinary user, on average.
const TOKENS_PER_USER: u64 = 16;
/// Ledgers below this have no room for ordinary stories until every kind of damage is there.
const SMALL_TOKENS: u64 = 1_000;
/// `on_tokens` is called about once in so many documents.
const REPORT_TOKENS: u64 = 1_024;

/// Which output failed, and how.
pub(super) struct SinkError {
    pub(super) sink: Sink,
    pub(super) error: io::Error,
}

/// One of the outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sink {
    Tokens,
    Wallets,
    PerUser,
}

impl Sink {
    fn fails(self, error: io::Error) -> SinkError {
        SinkError { sink: self, error }
    }
}

/// Told how many tokens are written so far; says whether to go on.
pub type OnTokens<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Where a ledger goes.
pub(super) struct Sinks<W> {
    pub(super) tokens: W,
    pub(super) wallets: W,
    /// The inside of the truth's `perUser`.
    pub(super) per_user: W,
}

/// A document that waits for its time: when, its number, its bytes.
type Waiting = Reverse<(i64, u64, Vec<u8>)>;

/// A ledger being written.
struct Ledger<'a, W> {
    options: &'a GenerateOptions,
    sinks: &'a mut Sinks<W>,
    on_tokens: OnTokens<'a>,
    workshop: Workshop,
    truth: Truth,
    stats: GenerateStats,
    waiting: BinaryHeap<Waiting>,
    cohort_tokens: u64,
    stories: u64,
    damage_stories: usize,
}

/// Writes a whole ledger to `sinks` and returns the truth about it.
pub(super) fn write_ledger<W: Write>(
    options: &GenerateOptions,
    sinks: &mut Sinks<W>,
    on_tokens: OnTokens<'_>,
) -> Result<(Truth, GenerateStats), SinkError> {
    let mut ledger = Ledger {
        options,
        sinks,
        on_tokens,
        workshop: Workshop::new(options.seed, options.tokens),
        truth: Truth::default(),
        stats: GenerateStats::default(),
        waiting: BinaryHeap::new(),
        cohort_tokens: 0,
        stories: 0,
        damage_stories: 0,
    };
    ledger.change_cohort()?;
    while ledger.truth.tokens < options.tokens {
        ledger.add_story()?;
    }
    ledger.finish()
}

impl<W: Write> Ledger<'_, W> {
    fn report(&mut self) -> Result<(), SinkError> {
        match (self.on_tokens)(self.stats.tokens) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Sink::Tokens.fails(io::ErrorKind::Interrupted.into())),
        }
    }

    fn add_story(&mut self) -> Result<(), SinkError> {
        if self.cohort_tokens >= COHORT_TOKENS {
            self.change_cohort()?;
        }
        self.workshop.step();
        self.write_due(self.workshop.now_ms)?;
        self.workshop.bug_is_live = self.bug_is_live();
        let story = self.next_story();
        self.cohort_tokens += to_u64(story.tokens.len());
        self.truth.record(&story, &mut self.workshop.users);
        for token in &story.tokens {
            let mut bytes = Vec::with_capacity(2048);
            token.encode(&mut bytes);
            let number = self.workshop.serial();
            self.waiting.push(Reverse((token.created_ms, number, bytes)));
        }
        self.write_wallets()
    }

    /// The bug came with a release after a tenth of the ledger and was mended before its last tenth.
    fn bug_is_live(&self) -> bool {
        let tenth = self.options.tokens / 10;
        (tenth..9 * tenth.max(1)).contains(&self.truth.tokens)
    }

    fn next_story(&mut self) -> Story {
        let room = self.options.tokens - self.truth.tokens;
        let story = if self.options.damage && self.is_damage_due() {
            let story = damage::story(&mut self.workshop, self.damage_stories);
            self.damage_stories += usize::from(to_u64(story.tokens.len()) <= room);
            story
        } else {
            healthy::everyday(&mut self.workshop)
        };
        self.stories += 1;
        if to_u64(story.tokens.len()) <= room {
            return story;
        }
        // It was not recorded, so it never happened.
        let user = self.workshop.any_user();
        healthy::income(&mut self.workshop, user)
    }

    /// Every story of a small ledger, every second of a larger one until each kind of damage was there
    /// once; then every sixth, which makes most findings some hundredths of all documents or less.
    fn is_damage_due(&self) -> bool {
        let each = match self.damage_stories < damage::kinds() {
            true if self.options.tokens < SMALL_TOKENS => 1,
            true => 2,
            false => 6,
        };
        self.stories.is_multiple_of(each)
    }

    /// Sends the active users home, with what is known of them, and brings the next.
    fn change_cohort(&mut self) -> Result<(), SinkError> {
        let left = (self.options.tokens - self.truth.tokens).min(COHORT_TOKENS);
        let regulars = usize::try_from(left / TOKENS_PER_USER).unwrap_or(usize::MAX).max(4);
        let retired = self.workshop.begin_cohort(regulars);
        self.cohort_tokens = 0;
        self.truth
            .retire(retired, &mut self.sinks.per_user)
            .map_err(|error| Sink::PerUser.fails(error))?;
        self.write_wallets()
    }

    /// Writes the documents whose time has come by `now_ms`.
    fn write_due(&mut self, now_ms: i64) -> Result<(), SinkError> {
        while let Some(Reverse((at_ms, _, _))) = self.waiting.peek() {
            if *at_ms > now_ms {
                break;
            }
            let Some(Reverse((_, _, bytes))) = self.waiting.pop() else {
                break;
            };
            self.sinks.tokens.write_all(&bytes).map_err(|error| Sink::Tokens.fails(error))?;
            self.stats.tokens += 1;
            self.stats.tokens_bytes += to_u64(bytes.len());
            if self.stats.tokens.is_multiple_of(REPORT_TOKENS) {
                self.report()?;
            }
        }
        Ok(())
    }

    fn write_wallets(&mut self) -> Result<(), SinkError> {
        let bytes = &mut self.workshop.wallets_bson;
        self.sinks.wallets.write_all(bytes).map_err(|error| Sink::Wallets.fails(error))?;
        self.stats.wallets_bytes += to_u64(bytes.len());
        bytes.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(Truth, GenerateStats), SinkError> {
        self.write_due(i64::MAX)?;
        let last = std::mem::take(&mut self.workshop.users);
        self.truth
            .retire(last, &mut self.sinks.per_user)
            .map_err(|error| Sink::PerUser.fails(error))?;
        self.truth.wallets = self.workshop.wallets_made;
        self.stats.users = self.truth.users;
        self.stats.wallets = self.truth.wallets;
        self.stats.tokens_to_migrate = self.truth.changed;
        self.report()?;
        Ok((self.truth, self.stats))
    }
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
