//! A pass over a collection: workers take chunks as they come, results leave in the chunks' order.
//!
//! Which worker gets which chunk never shows: results are handed on in order, and of several errors the
//! one of the earliest chunk is reported. A panic in one worker ends the pass and goes on in the caller.

use super::AnalyzeError;
use crate::document::Malformed;
use crate::model::Sha256Hash;
use crate::snapshot::input::Chunk;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Results of each worker that may wait for an earlier chunk, so that a slow chunk bounds memory.
const WAITING_MAX: u64 = 8;

/// What a worker hands in for a chunk.
pub(super) trait Outcome: Send {
    /// Memory that it takes while it waits for its turn, about, besides its own size.
    fn memory_bytes(&self) -> usize {
        0
    }
}

impl Outcome for () {}
impl Outcome for u64 {}
impl Outcome for (u64, u64, Sha256Hash) {}

/// The feed of chunks, or of other pieces of work `C`. It runs under a lock, so it should do little more
/// than read. Beside the chunk it may produce something for the worker that takes it; `None` ends the pass.
pub(super) trait Feed<C>: Send {
    type Extra: Send;
    fn next(&mut self, chunk: &mut C) -> Result<Option<Self::Extra>, AnalyzeError>;
}

impl<C, E: Send, F> Feed<C> for F
where
    F: FnMut(&mut C) -> Result<Option<E>, AnalyzeError> + Send,
{
    type Extra = E;
    fn next(&mut self, chunk: &mut C) -> Result<Option<E>, AnalyzeError> {
        self(chunk)
    }
}

struct Hall<F, S, R> {
    feed: Mutex<(F, u64)>,
    desk: Mutex<Desk<S, R>>,
    moved: Condvar,
    waiting_max: u64,
    waiting_bytes_max: usize,
}

struct Desk<S, R> {
    /// `None` while a worker is passing results to it.
    sink: Option<S>,
    next: u64,
    waiting: BTreeMap<u64, R>,
    waiting_bytes: usize,
    failed: Option<(u64, AnalyzeError)>,
    /// A worker panicked: its chunk's turn never comes.
    is_abandoned: bool,
}

impl<S, R: Outcome> Desk<S, R> {
    fn new(sink: S) -> Desk<S, R> {
        Desk {
            sink: Some(sink),
            next: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            failed: None,
            is_abandoned: false,
        }
    }

    /// Whether nothing more is passed on.
    fn is_closed(&self) -> bool {
        self.failed.is_some() || self.is_abandoned
    }

    fn insert(&mut self, number: u64, result: R) {
        self.waiting_bytes += result.memory_bytes();
        self.waiting.insert(number, result);
    }

    /// Takes out the result whose turn it is.
    fn take_next(&mut self) -> Option<R> {
        let result = self.waiting.remove(&self.next)?;
        self.waiting_bytes -= result.memory_bytes();
        Some(result)
    }

    /// Notes a failure; of several the one of the earliest chunk is kept.
    fn fail(&mut self, number: u64, error: AnalyzeError) {
        if self.failed.as_ref().is_none_or(|(earliest, _)| number < *earliest) {
            self.failed = Some((number, error));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a worker while it works: closes the desk and wakes everybody when the worker panics.
struct Alarm<'a, F, S, R>(&'a Hall<F, S, R>);

impl<F, S, R> Drop for Alarm<'_, F, S, R> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.desk).is_abandoned = true;
            self.0.moved.notify_all();
        }
    }
}

impl<F, S, R> Hall<F, S, R>
where
    R: Outcome,
    S: FnMut(R) -> Result<(), AnalyzeError>,
{
    /// Takes the next chunk and its number; `None` at the end or after a failure.
    fn take<C>(&self, chunk: &mut C) -> Option<(u64, F::Extra)>
    where
        F: Feed<C>,
    {
        let mut feed = lock(&self.feed);
        if lock(&self.desk).is_closed() {
            return None;
        }
        let number = feed.1;
        feed.1 += 1;
        match feed.0.next(chunk) {
            Ok(Some(extra)) => Some((number, extra)),
            Ok(None) => None,
            Err(error) => {
                self.fail(number, error);
                None
            }
        }
    }

    fn fail(&self, number: u64, error: AnalyzeError) {
        lock(&self.desk).fail(number, error);
        self.moved.notify_all();
    }

    /// Whether there is room for the result of chunk `number`; for the one whose turn it is there always is.
    fn has_room(&self, desk: &Desk<S, R>, number: u64, memory_bytes: usize) -> bool {
        let is_near = number < desk.next + self.waiting_max;
        let fits = desk.waiting_bytes.saturating_add(memory_bytes) <= self.waiting_bytes_max;
        number == desk.next || is_near && fits
    }

    /// Leaves a result. Whoever finds the sink free passes on what is ready, and the others work on meanwhile.
    fn hand_in(&self, number: u64, result: R) {
        let memory_bytes = result.memory_bytes();
        let mut desk = lock(&self.desk);
        while !self.has_room(&desk, number, memory_bytes) && !desk.is_closed() {
            desk = self.moved.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        desk.insert(number, result);
        let Some(mut sink) = desk.sink.take() else { return };
        while !desk.is_closed() {
            let next = desk.next;
            let Some(ready) = desk.take_next() else { break };
            drop(desk);
            let passed = sink(ready);
            desk = lock(&self.desk);
            if let Err(error) = passed {
                desk.fail(next, error);
            }
            desk.next += 1;
            self.moved.notify_all();
        }
        desk.sink = Some(sink);
    }
}

/// Runs `work` over all chunks that `feed` gives, one worker state each in `workers`, and passes the
/// results to `sink` in order. Those that wait for an earlier one take up to `waiting_bytes_max`, besides the one
/// that each worker holds.
pub(super) fn run<C, F, W, R>(
    pool: &rayon::ThreadPool,
    waiting_bytes_max: usize,
    feed: F,
    workers: &mut [W],
    work: impl Fn(&mut W, &mut C, F::Extra) -> Result<R, AnalyzeError> + Sync,
    sink: impl FnMut(R) -> Result<(), AnalyzeError> + Send,
) -> Result<(), AnalyzeError>
where
    C: Default,
    F: Feed<C>,
    W: Send,
    R: Outcome,
{
    let hall = Hall {
        feed: Mutex::new((feed, 0)),
        desk: Mutex::new(Desk::new(sink)),
        moved: Condvar::new(),
        waiting_max: WAITING_MAX * workers.len() as u64,
        waiting_bytes_max,
    };
    pool.scope(|scope| {
        for worker in workers {
            scope.spawn(|_| {
                let _alarm = Alarm(&hall);
                let mut chunk = C::default();
                while let Some((number, extra)) = hall.take(&mut chunk) {
                    match work(worker, &mut chunk, extra) {
                        Ok(result) => hall.hand_in(number, result),
                        Err(error) => hall.fail(number, error),
                    }
                }
            });
        }
    });
    let desk = hall.desk.into_inner().unwrap_or_else(PoisonError::into_inner);
    match desk.failed {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// Says where in the file a malformed document's fault is; the document begins at `start` in `chunk`.
pub(super) fn located(chunk: &Chunk, start: usize) -> impl FnOnce(Malformed) -> AnalyzeError + '_ {
    move |malformed| AnalyzeError::Malformed {
        document: chunk.place(start),
        at: malformed.offset,
        fault: malformed.fault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const WORKERS: usize = 4;
    /// More than may wait.
    const CHUNKS: u64 = 40 * WAITING_MAX;

    /// A result that takes so much memory, of a chunk with this number.
    struct Heavy<'a>(u64, usize, &'a AtomicUsize);

    impl Outcome for Heavy<'_> {
        fn memory_bytes(&self) -> usize {
            self.1
        }
    }

    impl Drop for Heavy<'_> {
        fn drop(&mut self) {
            self.2.fetch_sub(self.1, Ordering::Relaxed);
        }
    }

    fn pool() -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(WORKERS).build().unwrap()
    }

    fn numbers() -> impl FnMut(&mut u64) -> Result<Option<()>, AnalyzeError> + Send {
        let mut next = 0;
        move |chunk: &mut u64| {
            *chunk = next;
            next += 1;
            Ok((next <= CHUNKS).then_some(()))
        }
    }

    #[test]
    fn a_panic_in_a_worker_or_in_the_sink_reaches_the_caller() {
        for (fails_in_work, fails_in_sink) in [(3, u64::MAX), (u64::MAX, 3)] {
            let run = || {
                run(
                    &pool(),
                    usize::MAX,
                    numbers(),
                    &mut [(); WORKERS],
                    |(), chunk: &mut u64, ()| {
                        assert_ne!(*chunk, fails_in_work, "wanted");
                        Ok(*chunk)
                    },
                    |chunk| {
                        assert_ne!(chunk, fails_in_sink, "wanted");
                        Ok(())
                    },
                )
            };
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        }
    }

    #[test]
    fn results_that_wait_take_no_more_memory_than_allowed() {
        const EACH: usize = 100;
        const ALLOWED: usize = 250;
        let (held, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut seen = Vec::new();
        let work = |(): &mut (), chunk: &mut u64, ()| {
            if chunk.is_multiple_of(16) {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            let now = held.fetch_add(EACH, Ordering::Relaxed) + EACH;
            most.fetch_max(now, Ordering::Relaxed);
            Ok(Heavy(*chunk, EACH, &held))
        };
        let sink = |result: Heavy<'_>| {
            seen.push(result.0);
            Ok(())
        };
        run(&pool(), ALLOWED, numbers(), &mut [(); WORKERS], work, sink).unwrap();
        assert_eq!(seen, Vec::from_iter(0..CHUNKS));
        // One more for each worker, and the one in the sink.
        let bound = ALLOWED + EACH * (WORKERS + 1);
        let most = most.into_inner();
        assert!(most <= bound, "{most} bytes are more than {bound}");
    }
}
