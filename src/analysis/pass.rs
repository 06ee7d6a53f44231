//! A pass over a collection: workers take chunks as they come, results leave in the chunks' order.
//!
//! Which worker gets which chunk never shows: results are handed on in order, and of several errors the
//! one of the earliest chunk is reported.

use super::AnalyzeError;
use crate::document::Malformed;
use crate::snapshot::input::Chunk;
use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Results of each worker that may wait for an earlier chunk, so that a slow chunk bounds memory.
const WAITING_MAX: u64 = 8;

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
}

struct Desk<S, R> {
    /// `None` while a worker is passing results to it.
    sink: Option<S>,
    next: u64,
    waiting: BTreeMap<u64, R>,
    failed: Option<(u64, AnalyzeError)>,
}

impl<S, R> Desk<S, R> {
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

impl<F, S, R> Hall<F, S, R>
where
    S: FnMut(R) -> Result<(), AnalyzeError>,
{
    /// Takes the next chunk and its number; `None` at the end or after a failure.
    fn take<C>(&self, chunk: &mut C) -> Option<(u64, F::Extra)>
    where
        F: Feed<C>,
    {
        let mut feed = lock(&self.feed);
        if lock(&self.desk).failed.is_some() {
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

    /// Leaves a result. Whoever finds the sink free passes on what is ready, and the others work on meanwhile.
    fn hand_in(&self, number: u64, result: R) {
        let mut desk = lock(&self.desk);
        while number >= desk.next + self.waiting_max && desk.failed.is_none() {
            desk = self.moved.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        desk.waiting.insert(number, result);
        let Some(mut sink) = desk.sink.take() else { return };
        while desk.failed.is_none() {
            let next = desk.next;
            let Some(ready) = desk.waiting.remove(&next) else { break };
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
/// results to `sink` in order.
pub(super) fn run<C, F, W, R>(
    pool: &rayon::ThreadPool,
    feed: F,
    workers: &mut [W],
    work: impl Fn(&mut W, &C, F::Extra) -> Result<R, AnalyzeError> + Sync,
    sink: impl FnMut(R) -> Result<(), AnalyzeError> + Send,
) -> Result<(), AnalyzeError>
where
    C: Default,
    F: Feed<C>,
    W: Send,
    R: Send,
{
    let hall = Hall {
        feed: Mutex::new((feed, 0)),
        desk: Mutex::new(Desk {
            sink: Some(sink),
            next: 0,
            waiting: BTreeMap::new(),
            failed: None,
        }),
        moved: Condvar::new(),
        waiting_max: WAITING_MAX * workers.len() as u64,
    };
    pool.scope(|scope| {
        for worker in workers {
            scope.spawn(|_| {
                let mut chunk = C::default();
                while let Some((number, extra)) = hall.take(&mut chunk) {
                    match work(worker, &chunk, extra) {
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
