//! Work that stands back behind whoever has to answer.

use std::thread;

/// How much lower the priority is: a thread of usual priority gets nine times as much of a processor
/// that both want, and gets it at once (`sched(7)`).
const NICENESS: i32 = 10;

/// Does `work` on a thread of lower priority and waits for it. Threads that the work starts inherit that.
/// A panic of the work goes on in the caller.
pub(crate) fn standing_back<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let at_low_priority = || {
        // On Linux a priority is a thread's own. Without it the work is done all the same.
        let _ = rustix::process::nice(NICENESS);
        work()
    };
    thread::scope(|scope| scope.spawn(at_low_priority).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::nice(0).unwrap()
    }

    #[test]
    fn the_work_and_its_threads_stand_back_and_nobody_else() {
        let own = niceness();
        let lowest = 19;
        let inner = standing_back(|| thread::scope(|scope| scope.spawn(niceness).join().unwrap()));
        assert_eq!(inner, (own + NICENESS).min(lowest));
        assert_eq!(niceness(), own);
    }
}
