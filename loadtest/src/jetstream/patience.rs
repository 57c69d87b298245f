//! A stream whose writes fail when the reader takes nothing for too long.
//!
//! Any byte taken starts the wait anew: a slow reader is borne, a stuck one is not.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// See the module.
#[derive(Debug)]
pub(super) struct Patience<S> {
    stream: S,
    wait: Duration,
    /// Runs while a write is blocked.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> Patience<S> {
    /// Bears `wait` without progress.
    pub(super) fn new(stream: S, wait: Duration) -> Patience<S> {
        Patience { stream, wait, blocked: None }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.blocked = None;
            return progress;
        }
        let wait = self.wait;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(sleep(wait)));
        debug_assert!(blocked.deadline() <= Instant::now() + wait);
        match blocked.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_reader_that_takes_nothing_fails_the_write() {
        let (ours, _theirs) = tokio::io::duplex(4);
        let mut stream = Patience::new(ours, Duration::from_millis(2));
        let error = stream.write_all(b"more than four bytes").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_reader_that_takes_a_little_is_borne() {
        let (ours, mut theirs) = tokio::io::duplex(1);
        let mut stream = Patience::new(ours, Duration::from_secs(60));
        let reader = async {
            let mut taken = [0; 20];
            theirs.read_exact(&mut taken).await.map(|_| taken)
        };
        let (written, taken) = tokio::join!(stream.write_all(b"more than four bytes"), reader);
        written.unwrap();
        assert_eq!(&taken.unwrap(), b"more than four bytes");
    }
}
