//! Parallel loading in order and within a bound on memory.
//!
//! A loader that yields results as they arrive makes a run depend on timing. One that bounds the
//! number of queued items, not their bytes, runs out of memory on long clips. Here workers take jobs
//! in order, a result waits for its turn, and a job starts only if its declared bytes fit beside
//! those of all jobs that were started and not yet consumed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::base::{DataError, panic_message};

/// Number of loading threads and bound on the memory of their results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderConfig {
    /// Loading threads; 0 loads in the calling thread, when a result is asked for.
    pub workers: usize,
    /// Bound on the sum of declared bytes of the jobs that were started and not yet consumed. One job
    /// is always allowed.
    pub max_bytes: usize,
}

impl Default for LoaderConfig {
    /// One worker per two cores, at least one, and 1 GiB.
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { workers: cores.div_ceil(2), max_bytes: 1 << 30 }
    }
}

/// The results of [`ordered`], in the order of the jobs.
///
/// Dropping it starts no more jobs and waits for those under way.
pub struct OrderedLoader<T> {
    jobs: usize,
    position: usize,
    work: Work<T>,
}

enum Work<T> {
    Here(Box<dyn FnMut(usize) -> Result<T, DataError> + Send>),
    Threads { shared: Arc<Shared<T>>, threads: Vec<JoinHandle<()>> },
}

/// Loads `jobs` in parallel and yields the results in their order, whatever the number of workers.
///
/// `bytes` declares the memory of a job's result. A panic in `load` becomes [`DataError::Worker`] with
/// the job's position, and the other jobs continue.
pub fn ordered<J, T, F>(jobs: Vec<J>, bytes: impl Fn(&J) -> usize, config: LoaderConfig, load: F) -> OrderedLoader<T>
where
    J: Send + Sync + 'static,
    T: Send + 'static,
    F: Fn(&J) -> Result<T, DataError> + Send + Sync + 'static,
{
    let bytes: Vec<usize> = jobs.iter().map(bytes).collect();
    let count = jobs.len();
    let run = move |index: usize| {
        // Unwind safe: the loader shares nothing mutable with a job.
        catch_unwind(AssertUnwindSafe(|| load(&jobs[index])))
            .unwrap_or_else(|panic| Err(DataError::Worker { job: index, message: panic_message(&*panic) }))
    };
    let workers = config.workers.min(count);
    if workers == 0 {
        return OrderedLoader { jobs: count, position: 0, work: Work::Here(Box::new(run)) };
    }
    let shared = Arc::new(Shared {
        state: Mutex::new(State { next: 0, held: 0, stopped: false, done: BTreeMap::new() }),
        room: Condvar::new(),
        ready: Condvar::new(),
        bytes,
        max_bytes: config.max_bytes,
    });
    let run = Arc::new(run);
    let worker = |_| {
        let (shared, run) = (Arc::clone(&shared), Arc::clone(&run));
        thread::spawn(move || {
            while let Some(index) = shared.claim() {
                let result = run(index);
                shared.lock().done.insert(index, result);
                shared.ready.notify_all();
            }
        })
    };
    let threads = (0..workers).map(worker).collect();
    OrderedLoader { jobs: count, position: 0, work: Work::Threads { shared, threads } }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Signalled when bytes are given back or work stops.
    room: Condvar,
    /// Signalled when a result has arrived.
    ready: Condvar,
    bytes: Vec<usize>,
    max_bytes: usize,
}

struct State<T> {
    next: usize,
    /// Declared bytes of the jobs started and not consumed.
    held: usize,
    stopped: bool,
    done: BTreeMap<usize, Result<T, DataError>>,
}

impl<T> Shared<T> {
    /// No code that can panic runs under the lock, so a poisoned state is still whole.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room for the next job and claims it. Jobs start in order, so the one that the consumer
    /// waits for has always been started.
    fn claim(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.stopped || state.next == self.bytes.len() {
                return None;
            }
            let bytes = self.bytes[state.next];
            if state.held == 0 || state.held.saturating_add(bytes) <= self.max_bytes {
                state.held = state.held.saturating_add(bytes);
                state.next += 1;
                return Some(state.next - 1);
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn consume(&self, index: usize) -> Result<T, DataError> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.done.remove(&index) {
                state.held = state.held.saturating_sub(self.bytes[index]);
                drop(state);
                self.room.notify_all();
                return result;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Iterator for OrderedLoader<T> {
    type Item = Result<T, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position == self.jobs {
            return None;
        }
        let index = self.position;
        self.position += 1;
        Some(match &mut self.work {
            Work::Here(run) => run(index),
            Work::Threads { shared, .. } => shared.consume(index),
        })
    }
}

impl<T> Drop for OrderedLoader<T> {
    fn drop(&mut self) {
        if let Work::Threads { shared, threads } = &mut self.work {
            shared.lock().stopped = true;
            shared.room.notify_all();
            for thread in threads.drain(..) {
                // Panics of jobs were caught; there is nothing else to report.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::testing::refused;

    /// Jobs of `job` bytes on four threads, of which 100 may be held.
    fn start<T: Send + 'static>(
        jobs: Vec<usize>,
        load: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> OrderedLoader<T> {
        ordered(jobs, |&job| job, LoaderConfig { workers: 4, max_bytes: 100 }, move |&job| Ok(load(job)))
    }

    fn wait(time: u64) {
        thread::sleep(Duration::from_millis(time));
    }

    // Early jobs are the slow ones, so with several workers the results arrive in another order
    // than they are yielded.
    #[test]
    fn results_come_in_order_for_any_number_of_workers() {
        for workers in [0, 1, 4] {
            let square = |&job: &u64| {
                wait(if job % 4 == 0 { 8 } else { 1 });
                Ok(job * job)
            };
            let loader = ordered((0..40).collect(), |_| 1, LoaderConfig { workers, max_bytes: 8 }, square);
            let results: Vec<u64> = loader.map(Result::unwrap).collect();
            assert_eq!(results, (0..40).map(|job| job * job).collect::<Vec<_>>(), "{workers} workers");
        }
    }

    #[test]
    fn a_panic_is_an_error_of_its_job_alone() {
        for workers in [0, 1, 4] {
            let load = |&job: &usize| {
                assert!(job != 3, "job three is broken");
                Ok(job)
            };
            let loader = ordered((0..6).collect(), |_| 1, LoaderConfig { workers, max_bytes: 100 }, load);
            let mut results: Vec<_> = loader.collect();
            refused(results.remove(3), &["job 3", "job three is broken"]);
            assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 4, 5]);
        }
    }

    // Jobs of 30 bytes, 100 allowed: never more than 3 are held, and 4 workers do reach 3.
    #[test]
    fn bytes_are_bounded() {
        let counts = Arc::new([const { AtomicUsize::new(0) }; 2]);
        let shared = Arc::clone(&counts);
        let loader = start(vec![30; 40], move |bytes| {
            let now = shared[0].fetch_add(bytes, Ordering::SeqCst) + bytes;
            shared[1].fetch_max(now, Ordering::SeqCst);
            wait(2);
        });
        wait(50);
        for result in loader.inspect(|_| wait(1)) {
            // Counted down here, later than in the loader, so the bound seen from outside is one job
            // looser.
            result.unwrap();
            counts[0].fetch_sub(30, Ordering::SeqCst);
        }
        let peak = counts[1].load(Ordering::SeqCst);
        assert!((90..=120).contains(&peak), "{peak}");
    }

    // Before anything is consumed the bound is exact.
    #[test]
    fn the_bound_is_exact_before_the_first_result() {
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        let mut loader = start(vec![30; 10], move |_| count.fetch_add(1, Ordering::SeqCst));
        wait(100);
        assert_eq!(started.load(Ordering::SeqCst), 3);
        loader.next().unwrap().unwrap();
        wait(100);
        assert_eq!(started.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn a_job_above_the_bound_runs_alone() {
        let results: Vec<_> = start(vec![500, 10, 500, usize::MAX], |bytes| bytes).map(Result::unwrap).collect();
        assert_eq!(results, [500, 10, 500, usize::MAX]);
    }

    #[test]
    fn dropping_stops_the_workers() {
        let started = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&started);
        let mut loader = start(vec![20; 1000], move |_| count.fetch_add(1, Ordering::SeqCst));
        loader.next().unwrap().unwrap();
        drop(loader);
        // One was consumed and five may be held.
        assert!(started.load(Ordering::SeqCst) <= 6);
        assert_eq!(Arc::strong_count(&started), 1, "the workers are gone");
    }

    #[test]
    fn no_jobs_no_results() {
        assert_eq!(start(vec![], |job| job).count(), 0);
    }
}
