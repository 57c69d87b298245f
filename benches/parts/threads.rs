//! Threads with names, so that a profile says whose time it was.

use std::thread::{Builder, JoinHandle};

pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    Builder::new().name(name.to_owned()).spawn(run).expect("the machine has room for a thread")
}
