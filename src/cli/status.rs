//! `vigie status`: asks the running daemon's console twice, a second apart, so that rates can be shown.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{Failure, print};
use crate::access::tls;
use crate::config::Config;
use crate::console::{self, Status};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the daemon's console listens; else where `[http] listen` of its config says
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// The daemon's config file. Without one that is named, /etc/vigie/vigie.toml is read if it can be; else the
    /// console is at 127.0.0.1:6011
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file that holds a token with the right "operate", where the daemon asks for one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Speak TLS with a console on another machine, whose certificate this authority (PEM) has signed
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
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
    let http = match &arguments.http {
        Some(given) => given.clone(),
        None => of_config(super::config_if_any(arguments.config.as_deref())?.as_ref(), arguments)?,
    };
    let is_default = arguments.http.is_none() && arguments.config.is_none();
    let token = super::token_of(arguments.token_file.as_deref())?;
    let connector = arguments.tls_ca.as_deref().map(|ca| tls::client(ca, None)).transpose();
    let connector = connector.map_err(|error| Failure::Mistake(error.into()))?;
    let look = || async {
        tokio::time::timeout(ANSWER_MAX, connect_and_ask(&http, connector.as_ref(), &token))
            .await
            .unwrap_or_else(|_| bail!("no answer within {} s", ANSWER_MAX.as_secs()))
            .with_context(|| no_console(&http, is_default.then_some(super::CONFIG_DEFAULT.as_ref())))
    };
    if arguments.json {
        let status = runtime.block_on(look())?;
        let shown = serde_json::to_string_pretty(&status).context("status")?;
        return Ok(writeln!(std::io::stdout(), "{shown}").context("stdout")?);
    }
    let (before, after) = runtime.block_on(async {
        let before = look().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        anyhow::Ok((before, look().await?))
    })?;
    print::status(&before, &after).context("stdout")?;
    Ok(())
}

/// That nobody answers there; `unnamed` is the config that was to say where.
fn no_console(http: &str, unnamed: Option<&Path>) -> String {
    format!("no vigie console at {http}{}", unnamed.map(super::why_untold).unwrap_or_default())
}

/// Where the console of this config is to be found on this machine.
fn of_config(config: Option<&Config>, arguments: &Arguments) -> Result<String, Failure> {
    let Some(config) = config else { return Ok(console::LISTEN_DEFAULT.to_string()) };
    let Some(listen) = config.console.listen else {
        return Err(Failure::Mistake(anyhow!("[http] enabled = false: this daemon has no console to ask")));
    };
    let speaks_tls = config.access.roster().tls().is_some() && !listen.ip().is_loopback();
    if speaks_tls && arguments.tls_ca.is_none() {
        return Err(Failure::Mistake(anyhow!(
            "[http] listen = {listen} speaks TLS: give --tls-ca, and --http NAME:PORT with a name of its certificate"
        )));
    }
    let here = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(here, listen.port()).to_string())
}

async fn connect_and_ask(
    address: &str,
    connector: Option<&TlsConnector>,
    token: &str,
) -> anyhow::Result<Status> {
    let stream = TcpStream::connect(address).await?;
    match connector {
        None => ask(stream, address, token).await,
        Some(connector) => {
            let stream = connector.connect(tls::server_name(address)?, stream).await?;
            ask(stream, address, token).await
        }
    }
}

async fn ask<S>(stream: S, address: &str, token: &str) -> anyhow::Result<Status>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut request = hyper::Request::get("/v1/status").header(hyper::header::HOST, address);
    if !token.is_empty() {
        request = request.header(hyper::header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), STATUS_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        drop(sender);
        if !status.is_success() {
            // The daemon says why in one line.
            bail!("HTTP {status}: {}", String::from_utf8_lossy(&body).trim());
        }
        Ok(serde_json::from_slice(&body)?)
    };
    // The connection's half ends when the sender is dropped after the answer.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_console_is_told_of_a_config_that_could_not_say_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vigie.toml");
        assert_eq!(no_console("h:1", Some(&path)), "no vigie console at h:1");
        assert_eq!(no_console("h:1", None), "no vigie console at h:1");
        std::fs::write(&path, "mistaken").unwrap();
        let said = no_console("h:1", Some(&path));
        let expected =
            format!("no vigie console at h:1 (the default; config {} has mistakes", path.display());
        assert!(said.starts_with(&expected), "{said}");
    }
}
