//! One job for many items on several threads, with the results in the calling thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::bounded;

use super::error::DataError;

/// The number of threads meant by `workers`, where 0 is one for each processor.
pub(crate) fn threads(workers: usize) -> usize {
    if workers > 0 { workers } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

/// Runs `job` for every item and passes the results to `done` in the calling thread, in the order in
/// which the jobs finish.
///
/// No job starts after `cancel` is set or `done` has failed; jobs under way finish. Parallel work
/// inside a job shares the same threads, so the last long item can use all of them.
///
/// # Errors
/// The first error of `done`, and [`DataError::Worker`] for a job that panicked.
pub(crate) fn for_each<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    cancel: &AtomicBool,
    job: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(usize, R) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let workers = threads(workers).min(items.len()).max(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(workers).build();
    let pool = pool.map_err(|error| DataError::setting("workers", workers, &format!("no threads: {error}")))?;
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, results) = bounded(workers);
    let work = |sender: crossbeam_channel::Sender<(usize, Result<R, String>)>| {
        while !cancel.load(Ordering::Relaxed) && !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return };
            let result = catch_unwind(AssertUnwindSafe(|| job(item))).map_err(|panic| panic_message(&*panic));
            if sender.send((index, result)).is_err() {
                return;
            }
        }
    };
    let work = &work;
    pool.in_place_scope(|scope| {
        for _ in 0..workers {
            let sender = sender.clone();
            scope.spawn(move |_| work(sender));
        }
        drop(sender);
        let mut outcome = Ok(());
        for (index, result) in results {
            if outcome.is_err() {
                continue; // jobs under way are finished
            }
            outcome = match result {
                Ok(result) => done(index, result),
                Err(message) => Err(DataError::Worker { job: index, message }),
            };
            failed.store(outcome.is_err(), Ordering::Relaxed);
        }
        outcome
    })
}

/// The message of a panic that was caught.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{GO, refused};

    #[test]
    fn every_item_is_done_once() {
        let items: Vec<usize> = (0..100).collect();
        for workers in [0, 1, 3] {
            let mut seen = vec![0; 100];
            let add = |index: usize, square: usize| {
                assert_eq!(square, index * index);
                seen[index] += 1;
                Ok(())
            };
            for_each(&items, workers, &GO, |n| n * n, add).unwrap();
            assert!(seen.iter().all(|&n| n == 1));
        }
        for_each(&[] as &[u8], 2, &GO, |_| (), |_, ()| Ok(())).unwrap();
    }

    #[test]
    fn cancelling_and_errors_stop_new_jobs() {
        let items = [0; 1000];
        let cancel = AtomicBool::new(false);
        let mut ended = 0;
        let stop = |_, ()| {
            ended += 1;
            cancel.store(true, Ordering::Relaxed);
            Ok(())
        };
        for_each(&items, 2, &cancel, |_| (), stop).unwrap();
        assert!((1..20).contains(&ended), "{ended}");

        let mut calls = 0;
        let fail = |_, ()| {
            calls += 1;
            Err(DataError::Shape("no".to_owned()))
        };
        assert!(for_each(&items, 2, &GO, |_| (), fail).is_err());
        assert_eq!(calls, 1);
    }

    #[test]
    fn a_panic_is_an_error() {
        let job = |&n: &u8| assert!(n != 3, "three");
        refused(for_each(&[1, 2, 3, 4], 2, &GO, job, |_, ()| Ok(())), &["three"]);
    }
}
