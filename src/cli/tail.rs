//! `vigie tail`: a client of the ticket socket that prints.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use tokio_rustls::TlsConnector;

use super::Failure;
use super::print::{self, Clock};
use crate::access::tls;
use crate::parse::Network;
use crate::telemetry::log::remark;
use crate::ticket::proto::delivery::Record;
use crate::ticket::proto::goodbye::Code;
use crate::ticket::{self, proto};
use crate::wire::connection::UNIX_DEFAULT;
use crate::wire::{Address, Client, ClientError, Event, Introduction, Wanted};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the daemon listens: a socket file or HOST:PORT; else where its config says
    #[arg(long, value_name = "ADDRESS")]
    socket: Option<String>,
    /// The daemon's config file, for its socket and its time zone. Without one that is named,
    /// /etc/vigie/vigie.toml is read if it can be; else the socket is /run/vigie/vigie.sock, and times are those of
    /// this machine
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take from the durable subscription of this name: the daemon keeps for it what it has not shown yet, also
    /// while nobody looks, and never shows it a ticket twice. Without a name nothing is kept, and it begins with the
    /// newest 10,000 tickets
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    name: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// A file that holds the token, where the daemon asks for one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Speak TLS with a daemon on TCP, whose certificate this authority (PEM) has signed
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Our own certificate (PEM), where the daemon asks for one
    #[arg(long, value_name = "FILE", requires = "key", requires = "tls_ca")]
    cert: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Only these brands
    #[arg(long, value_name = "BRAND")]
    brand: Vec<String>,
    /// Only these networks: bluesky, mastodon, x, facebook, plain
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    network: Vec<Network>,
    /// Only these languages: fr, en, ...
    #[arg(long, value_name = "LANGUAGE")]
    language: Vec<String>,
    /// Only from this priority on, 0 to 1000
    #[arg(long, value_name = "POINTS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1000))]
    priority_min: u32,
    /// Begin with what comes next, not with everything the ledger holds; a name that is known goes on where it was
    #[arg(long)]
    from_now: bool,
    /// End after this many tickets and updates
    #[arg(long, value_name = "COUNT")]
    count: Option<u64>,
}

fn network(name: &str) -> Result<Network, String> {
    Network::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Network::ALL.iter().map(|network| network.name()).collect();
        format!("must be one of {}", names.join(", "))
    })
}

/// Between two tries to reach a daemon that is away.
const RETRY: Duration = Duration::from_secs(1);
/// What somebody who gave no name is told after each lost connection but the last.
const SKIPPED: &str = "what came meanwhile or waited before is not shown (--name NAME would have kept it)";
/// Deliveries printed but not yet acknowledged at most, so that a crash repeats few.
const WINDOW: u32 = 16;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = super::config_if_any(arguments.config.as_deref())?;
    let address = match (&arguments.socket, &config) {
        (Some(given), _) => Address::parse(given),
        (None, Some(config)) => config.wire.address(),
        (None, None) => Address::Unix(UNIX_DEFAULT.into()),
    };
    let token = super::token_of(arguments.token_file.as_deref())?;
    let identity = arguments.cert.as_deref().zip(arguments.key.as_deref());
    let connector = arguments.tls_ca.as_deref().map(|ca| tls::client(ca, identity)).transpose();
    let connector = connector.map_err(|error| Failure::Mistake(error.into()))?;
    let to = match (address, connector) {
        (Address::Unix(path), Some(_)) => {
            let path = path.display();
            return Err(Failure::Mistake(anyhow::anyhow!(
                "--tls-ca: {path} is a socket file; TLS is for TCP: give --socket HOST:PORT"
            )));
        }
        (address, connector) => Destination { address, connector },
    };
    let introduction = Introduction {
        client: concat!("vigie tail ", env!("CARGO_PKG_VERSION")).to_owned(),
        token,
        subscription: arguments.name.clone().map_or(Wanted::Unnamed, Wanted::Named),
        filter: Some(proto::Filter {
            brands: arguments.brand.clone(),
            networks: arguments.network.iter().map(|network| network.name().to_owned()).collect(),
            languages: arguments.language.clone(),
            intents: Vec::new(),
            priority_min: arguments.priority_min,
        }),
        start_next: arguments.from_now,
        window: WINDOW,
    };
    // Times are those that every other command shows.
    let clock = config.as_ref().map_or_else(Clock::of_reader, Clock::of_desk);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("async runtime")?;
    runtime.block_on(async {
        tokio::select! {
            followed = follow(arguments, &to, introduction, &clock) => followed,
            // Asked to end: what is printed and not acknowledged comes again, once.
            () = super::asked_to_end() => Ok(()),
        }
    })
}

/// Where to, and how.
struct Destination {
    address: Address,
    /// For TLS; only with a TCP address.
    connector: Option<TlsConnector>,
}

impl Destination {
    async fn connect(&self, introduction: Introduction) -> Result<Client, ClientError> {
        match (&self.address, &self.connector) {
            (Address::Tcp(host), Some(connector)) => Client::connect_tls(host, connector, introduction).await,
            (address, _) => Client::connect(address, introduction).await,
        }
    }
}

/// Follows the subscription through restarts of the daemon, until the count is reached.
///
/// A subscription without a name ends with each connection. Beginning it anew with everything would show again what
/// has been shown, so that it goes on with what comes next, and says so.
async fn follow(
    arguments: &Arguments,
    to: &Destination,
    mut introduction: Introduction,
    clock: &Clock,
) -> Result<(), Failure> {
    let mut printed = 0;
    let mut was_connected = false;
    let mut told = false;
    loop {
        let ended = match to.connect(introduction.clone()).await {
            Ok(mut client) => {
                if was_connected && introduction.subscription == Wanted::Unnamed {
                    remark(&format!("vigie tail: connected again; {SKIPPED}"));
                }
                if !was_connected && !arguments.json {
                    remark(&format!("vigie tail: times are {}", clock.zone(Timestamp::now())));
                }
                (was_connected, told) = (true, false);
                introduction.start_next |= introduction.subscription == Wanted::Unnamed;
                match take(arguments, &mut client, &mut printed, clock).await {
                    Ok(()) => return Ok(()),
                    Err(TakeError::Output(error)) => return Err(error),
                    Err(TakeError::Client(error)) => error,
                }
            }
            Err(error) if !was_connected && !may_come(&to.address, &error) => {
                return Err(never_let_in(to, &introduction, error));
            }
            Err(error) => error,
        };
        if !ended.is_transient() {
            return Err(Failure::Fault(ended.into()));
        }
        if !told {
            remark(&format!("vigie tail: {ended}; trying again"));
            told = true;
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What to do about a daemon that has never let us in, and will not if we wait.
fn never_let_in(to: &Destination, introduction: &Introduction, error: ClientError) -> Failure {
    let advice = match (&error, &to.address) {
        (ClientError::SpeaksTls, _) => {
            return Failure::Mistake(anyhow::anyhow!("{} speaks TLS: give --tls-ca", to.address));
        }
        (ClientError::Connect { .. }, Address::Unix(_)) => {
            "is vigie running, is --socket its address, and may this user open it (group vigie)?"
        }
        (ClientError::Connect { .. }, Address::Tcp(_)) if to.connector.is_some() => {
            "is --socket its address, does it speak TLS there, and has --tls-ca signed its certificate?"
        }
        (ClientError::Connect { .. }, Address::Tcp(_)) => "is vigie running, and is --socket its address?",
        (ClientError::Goodbye { code: Code::HelloInvalid, reason }, _)
            if introduction.subscription == Wanted::Unnamed && reason.starts_with("subscription.name") =>
        {
            "an older vigie knows named subscriptions only: give --name"
        }
        (ClientError::Goodbye { .. }, _) => return Failure::Fault(error.into()),
        _ => "is that the ticket socket of a vigie?",
    };
    Failure::Fault(anyhow::Error::from(error).context(advice))
}

/// Whether a daemon that has not let us in yet may still do so: nobody listens, or its socket file is not there and
/// its folder is; it says itself that this passes; or it ended while we came, where systemd holds its socket file.
fn may_come(address: &Address, error: &ClientError) -> bool {
    let source = match error {
        ClientError::Connect { source, .. } => source,
        ClientError::Goodbye { .. } => return error.is_transient(),
        ClientError::Lost(_) | ClientError::Closed | ClientError::Silent(_) => {
            return matches!(address, Address::Unix(_));
        }
        ClientError::SpeaksTls | ClientError::Protocol(_) => return false,
    };
    match (source.kind(), address) {
        (ErrorKind::ConnectionRefused, _) => true,
        (ErrorKind::NotFound, Address::Unix(path)) => path.parent().is_some_and(Path::is_dir),
        _ => false,
    }
}

enum TakeError {
    Client(ClientError),
    Output(Failure),
}

impl From<ClientError> for TakeError {
    fn from(error: ClientError) -> TakeError {
        TakeError::Client(error)
    }
}

async fn take(
    arguments: &Arguments,
    client: &mut Client,
    printed: &mut u64,
    clock: &Clock,
) -> Result<(), TakeError> {
    let mut last_acked = None;
    while arguments.count.is_none_or(|count| *printed < count) {
        let delivery = client.next().await?;
        // Acknowledged once it is out: a reader who has gone away gets it again.
        show(arguments.json, &delivery, clock)
            .context("stdout")
            .map_err(|error| TakeError::Output(Failure::Fault(error)))?;
        client.ack(&[delivery.seq]).await?;
        last_acked = Some(delivery.seq);
        *printed += 1;
    }
    // Leaving before the last acknowledgement is durable would have it delivered again.
    while let Some(last) = last_acked {
        if let Event::Acked(seqs) = client.next_event().await?
            && seqs.contains(&last)
        {
            return Ok(());
        }
    }
    Ok(())
}

fn show(json: bool, delivery: &proto::Delivery, clock: &Clock) -> std::io::Result<()> {
    if !json {
        return print::delivery(&mut anstream::stdout().lock(), delivery, clock);
    }
    let mut line = match &delivery.record {
        Some(Record::Ticket(ticket)) => ticket::to_json(ticket),
        Some(Record::Update(update)) => ticket::update_to_json(update),
        None => return Ok(()),
    };
    if let Some(now) = delivery.priority_now {
        line["priority_now"] = now.into();
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
