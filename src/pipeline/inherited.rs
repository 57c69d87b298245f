//! Sockets that systemd holds and hands over (sd_listen_fds(3)): they stay open while vigie restarts, and who
//! connects in between waits instead of being refused.
//!
//! A socket's name, `FileDescriptorName=` in its unit, says what it is for: `tickets` (a Unix or a TCP socket) or
//! `http`. It must listen where the config says, so that there is one answer to the question where vigie listens.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use socket2::SockRef;

use crate::config::Config;

/// The ticket socket's name.
const TICKETS: &str = "tickets";
/// The console's.
const HTTP: &str = "http";

/// What was handed over; by default nothing, and vigie opens its sockets itself.
#[derive(Debug, Default)]
pub struct Inherited {
    pub(super) tickets_unix: Option<UnixListener>,
    pub(super) tickets_tcp: Option<TcpListener>,
    pub(super) http: Option<TcpListener>,
}

/// Why a socket cannot be taken: its unit or the config must be mended.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// Its name says nothing to us.
    #[error(
        "socket {fd} that systemd hands over is named {name:?}: FileDescriptorName= must be \"tickets\" or \"http\""
    )]
    Unknown {
        /// Its descriptor.
        fd: usize,
        /// As given.
        name: String,
    },
    /// Not what goes by that name.
    #[error("socket {fd} that systemd hands over as {name:?} {trouble}")]
    Unfit {
        /// Its descriptor.
        fd: usize,
        /// As given.
        name: &'static str,
        /// What is wrong with it.
        trouble: String,
    },
    /// It listens elsewhere than the config says.
    #[error(
        "systemd hands over a socket for {name:?} that listens on {listens}, but {key} {configured}: make them the same"
    )]
    Elsewhere {
        /// As given.
        name: &'static str,
        /// Where it listens.
        listens: String,
        /// The config's key.
        key: &'static str,
        /// `is …` or `is not set`.
        configured: String,
    },
}

/// sd_listen_fds(3): the first descriptor handed over.
const FIRST_FD: usize = 3;

impl Inherited {
    /// Takes what systemd handed over to this process. Must be called before any thread is started, since it
    /// removes the variables that speak of it, and once.
    ///
    /// # Errors
    ///
    /// A socket fits nothing.
    pub fn from_environment() -> Result<Inherited, InheritedError> {
        // As sd_listen_fds(3): what is not said to be for this very process is somebody else's, a parent's for one.
        let pid = std::env::var("LISTEN_PID").ok().and_then(|pid| pid.parse().ok());
        if pid != Some(std::process::id()) {
            return Ok(Inherited::default());
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut handed = ListenFd::from_env();
        let mut inherited = Inherited::default();
        for index in 0..handed.len() {
            let fd = FIRST_FD + index;
            let given = names.next().unwrap_or_default();
            let Some(name) = [TICKETS, HTTP].into_iter().find(|name| *name == given) else {
                return Err(InheritedError::Unknown { fd, name: given });
            };
            let unfit = |trouble: &str| InheritedError::Unfit { fd, name, trouble: trouble.to_owned() };
            if let Ok(Some(unix)) = handed.take_unix_listener(index) {
                listens(&unix).map_err(unfit)?;
                match name {
                    TICKETS => put(&mut inherited.tickets_unix, unix).map_err(unfit)?,
                    _ => return Err(unfit("is a Unix socket: the console speaks HTTP over TCP")),
                }
            } else if let Ok(Some(tcp)) = handed.take_tcp_listener(index) {
                listens(&tcp).map_err(unfit)?;
                let place = if name == TICKETS { &mut inherited.tickets_tcp } else { &mut inherited.http };
                put(place, tcp).map_err(unfit)?;
            } else {
                return Err(unfit("is neither a Unix nor a TCP stream socket: use ListenStream="));
            }
        }
        Ok(inherited)
    }

    /// Whether anything was handed over.
    pub fn is_empty(&self) -> bool {
        self.tickets_unix.is_none() && self.tickets_tcp.is_none() && self.http.is_none()
    }

    /// Whether each listens where the config says.
    pub(super) fn check(&self, config: &Config) -> Result<(), InheritedError> {
        if let Some(unix) = &self.tickets_unix {
            let address = unix.local_addr().ok();
            let path = address.as_ref().and_then(|address| address.as_pathname()).map(Path::to_owned);
            let shown = |path: &PathBuf| path.display().to_string();
            same(TICKETS, path.as_ref(), "[wire] unix", config.wire.unix.as_ref(), shown)?;
        }
        let shown = |address: &SocketAddr| address.to_string();
        if let Some(tcp) = &self.tickets_tcp {
            let address = tcp.local_addr().ok();
            same(TICKETS, address.as_ref(), "[wire] tcp", config.wire.tcp.as_ref(), shown)?;
        }
        if let Some(http) = &self.http {
            let address = http.local_addr().ok();
            same(HTTP, address.as_ref(), "[http] listen", config.console.listen.as_ref(), shown)?;
        }
        Ok(())
    }
}

impl fmt::Display for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handed = [
            (self.tickets_unix.is_some(), "tickets (unix)"),
            (self.tickets_tcp.is_some(), "tickets (tcp)"),
            (self.http.is_some(), "http"),
        ];
        let handed: Vec<_> = handed.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        f.write_str(&handed.join(", "))
    }
}

/// With `Accept=yes` systemd would hand over each client instead.
fn listens(socket: &impl AsFd) -> Result<(), &'static str> {
    match SockRef::from(socket).is_listener() {
        Ok(true) => Ok(()),
        _ => Err("does not listen: use ListenStream= and Accept=no"),
    }
}

fn put<S>(place: &mut Option<S>, socket: S) -> Result<(), &'static str> {
    match place.replace(socket) {
        None => Ok(()),
        Some(_) => Err("is the second of its kind: vigie takes one"),
    }
}

fn same<A: PartialEq>(
    name: &'static str,
    listens: Option<&A>,
    key: &'static str,
    configured: Option<&A>,
    shown: impl Fn(&A) -> String,
) -> Result<(), InheritedError> {
    if listens.is_some() && listens == configured {
        return Ok(());
    }
    Err(InheritedError::Elsewhere {
        name,
        listens: listens.map_or_else(|| "no address".to_owned(), &shown),
        key,
        configured: configured
            .map_or_else(|| "is not set".to_owned(), |address| format!("is {}", shown(address))),
    })
}
