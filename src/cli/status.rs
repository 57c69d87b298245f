//! `vigie status`: asks the running daemon's console twice, a second apart, so that rates can be shown.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Failure, print};
use crate::console::Status;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the daemon's console listens: `[http] listen` in its config
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6011")]
    http: SocketAddr,
    /// Print the status as JSON
    #[arg(long)]
    json: bool,
}

/// Longest wait for the daemon's answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Far above any status: 1,000 sources of 500 bytes.
const STATUS_BYTES_MAX: usize = 1 << 20;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("async runtime")?;
    let look = || async {
        tokio::time::timeout(ANSWER_MAX, ask(arguments.http))
            .await
            .unwrap_or_else(|_| bail!("no answer within {} s", ANSWER_MAX.as_secs()))
            .with_context(|| format!("no vigie console at {}", arguments.http))
    };
    if arguments.json {
        let status = runtime.block_on(look())?;
        println!("{}", serde_json::to_string_pretty(&status).context("status")?);
        return Ok(());
    }
    let (before, after) = runtime.block_on(async {
        let before = look().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        anyhow::Ok((before, look().await?))
    })?;
    print::status(&before, &after).context("stdout")?;
    Ok(())
}

async fn ask(address: SocketAddr) -> anyhow::Result<Status> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::get("/v1/status")
        .header(hyper::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), STATUS_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        drop(sender);
        if !status.is_success() {
            bail!("HTTP {status}");
        }
        Ok(serde_json::from_slice(&body)?)
    };
    // The connection's half ends when the sender is dropped after the answer.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}
