//! Who may do what, and how much of the doors one peer may take.
//!
//! A leaf: the ticket socket and the console ask here, `config` fills it. A [`Roster`] holds the tokens and
//! client certificates that open something, each with a [`Grant`]; it is replaced whole on reload. A
//! [`Gate`](peers::Gate) bounds what one peer, and what all who have not said who they are, may hold of a door.
//!
//! # The rule
//!
//! 1. A door that other machines can reach opens only to who shows a token or a certificate.
//! 2. A door on this machine alone (a Unix socket, loopback) is open to whoever the system lets connect, until
//!    some token or certificate gives a right there: from then on everybody needs one, so that a limit set for one
//!    client is not passed by going in without.
//!
//! Secrets are kept as hashes and are never printed; a grant's name may be.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tokio::sync::watch;

pub mod brands;
pub mod peers;
pub mod secret;
pub mod tls;

use brands::Brands;
use tls::Tls;

/// Longest token that is looked at, in bytes; a longer one is wrong.
pub const TOKEN_BYTES_MAX: usize = 1024;

/// Something that a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Subscribe on the ticket socket, receive and acknowledge tickets.
    Read,
    /// Report ticket states, touchpoints and agents on the ticket socket, and touchpoints at the console.
    Feedback,
    /// Look at the console, the status and the metrics.
    Operate,
}

impl Right {
    /// All of them, with their names in config.
    pub const ALL: [(&'static str, Right); 3] =
        [("read", Right::Read), ("feedback", Right::Feedback), ("operate", Right::Operate)];

    /// As in config.
    pub fn name(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Feedback => "feedback",
            Right::Operate => "operate",
        }
    }
}

/// A set of rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights(u8);

impl Rights {
    /// Those on the ticket socket: what a token has unless it says otherwise.
    pub const SOCKET: Rights = Rights(1 << Right::Read as u8 | 1 << Right::Feedback as u8);
    /// Every one.
    pub const ALL: Rights = Rights(Rights::SOCKET.0 | 1 << Right::Operate as u8);

    /// Whether `right` is among them.
    pub fn has(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }

    /// Whether one of `others` is among them.
    pub fn meet(self, others: Rights) -> bool {
        self.0 & others.0 != 0
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Rights {
        Rights(rights.into_iter().fold(0, |set, right| set | 1 << right as u8))
    }
}

/// Where somebody wants to come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The ticket socket.
    Socket,
    /// The console.
    Http,
    /// What is reported at the console's address.
    Reports,
}

impl Door {
    /// Those that are of use there.
    fn rights(self) -> Rights {
        match self {
            Door::Socket => Rights::SOCKET,
            Door::Http => Rights::from_iter([Right::Operate]),
            Door::Reports => Rights::from_iter([Right::Feedback]),
        }
    }
}

/// What one token or certificate allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// As in config; for logs and reasons. Empty where nobody is asked who they are.
    pub name: Arc<str>,
    /// What it may do.
    pub rights: Rights,
    /// The brands whose tickets it may see and speak of, as in config; `None`: all.
    pub brands: Option<Brands>,
}

impl Grant {
    /// What whoever comes through an unguarded door may do: everything.
    pub fn everything() -> Grant {
        Grant { name: Arc::from(""), rights: Rights::ALL, brands: None }
    }

    /// Why a grant that is limited to brands may not report what counts for all of them.
    pub fn beyond_its_brands(&self, what: &str) -> String {
        format!("token {:?} is limited to brands: it may not report {what}, which count for all", self.name)
    }

    /// The ledger's name for the subscription that this client calls `name`.
    ///
    /// A grant that is limited to brands has subscriptions of its own, `TOKEN/NAME`. Under a common name its filter
    /// would take the place of another's: records could reach a client that may not see them, and be acknowledged
    /// by one for whom they were not meant. A client's own name cannot hold a slash.
    pub fn subscription(&self, name: &str) -> String {
        match self.brands {
            None => name.to_owned(),
            Some(_) => format!("{}/{name}", self.name),
        }
    }
}

/// How somebody has proved who they are.
#[derive(Clone)]
enum Proof {
    /// Nobody was asked.
    None,
    Token(blake3::Hash),
    /// The chain shown, leaf first.
    Certificate(Arc<[CertificateDer<'static>]>),
}

/// Somebody who was let in, and why.
#[derive(Clone)]
pub struct Pass {
    /// What they may do.
    pub grant: Arc<Grant>,
    door: Door,
    proof: Proof,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The proof is none of the log's business.
        f.debug_struct("Pass").field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// Why somebody was not let in. Says nothing that helps to guess.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing was shown.
    #[error("this listener asks for a token")]
    Missing,
    /// A token that is none of ours.
    #[error("wrong token")]
    Wrong,
    /// Known, and of no use here.
    #[error("token {name:?} has no right {rights} here")]
    Rights {
        /// Of the token.
        name: Arc<str>,
        /// That would be of use, for people.
        rights: &'static str,
    },
}

impl Refused {
    /// Whether this may have been a guess, which the next one of this peer should wait for.
    pub fn is_guess(&self) -> bool {
        matches!(self, Refused::Wrong)
    }
}

/// What a reload means for somebody who is already in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Same,
    /// They may come in again, and may do other things then.
    Changed,
    /// Their token or certificate opens nothing any more.
    Gone,
}

/// Every token and certificate that opens something, and the certificate that we show ourselves.
#[derive(Default)]
pub struct Roster {
    tokens: Vec<(blake3::Hash, Arc<Grant>)>,
    certificates: Vec<(ServerName<'static>, Arc<Grant>)>,
    tls: Option<Tls>,
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.grants()).finish()
    }
}

impl Roster {
    /// Adds a token; false, and nothing is added, if it is another one's already.
    pub fn add_token(&mut self, secret: &str, grant: Grant) -> bool {
        let hash = blake3::hash(secret.as_bytes());
        let is_new = self.tokens.iter().all(|(other, _)| *other != hash);
        if is_new {
            self.tokens.push((hash, Arc::new(grant)));
        }
        is_new
    }

    /// Adds the certificates of this name; the first of several wins.
    pub fn add_certificate(&mut self, name: ServerName<'static>, grant: Grant) {
        self.certificates.push((name, Arc::new(grant)));
    }

    /// The certificate to show from now on.
    pub fn set_tls(&mut self, tls: Tls) {
        self.tls = Some(tls);
    }

    /// What we show, if anything.
    pub fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Whether somebody has a right at this door, and so everybody needs one.
    pub fn guards(&self, door: Door) -> bool {
        self.grants().any(|grant| grant.rights.meet(door.rights()))
    }

    /// Whether somebody may come to this door by a certificate.
    pub fn knows_certificate(&self, door: Door) -> bool {
        self.certificates.iter().any(|(_, grant)| grant.rights.meet(door.rights()))
    }

    fn grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        let certificates = self.certificates.iter().map(|(_, grant)| grant);
        self.tokens.iter().map(|(_, grant)| grant).chain(certificates)
    }

    /// The grant of this token. Looks at every token, however early one fits, and compares hashes in constant
    /// time: neither how much of a guess is right nor which token it resembles can be told from the time taken.
    fn of_token(&self, given: &blake3::Hash) -> Option<&Arc<Grant>> {
        let mut found = 0;
        for (place, (hash, _)) in self.tokens.iter().enumerate() {
            found |= usize::from(hash == given) * (place + 1);
        }
        Some(&self.tokens.get(found.checked_sub(1)?)?.1)
    }

    /// The grant of this certificate: signed by our authority for clients, and for a name that is in the roster.
    fn of_certificate(&self, chain: &[CertificateDer<'static>]) -> Option<&Arc<Grant>> {
        let (leaf, _) = chain.split_first()?;
        self.tls.as_ref()?.trusts_client(chain).then_some(())?;
        let leaf = ParsedCertificate::try_from(leaf).ok()?;
        let named = |(name, _): &&(ServerName<'static>, _)| verify_server_name(&leaf, name).is_ok();
        self.certificates.iter().find(named).map(|(_, grant)| grant)
    }

    fn of(&self, proof: &Proof) -> Option<&Arc<Grant>> {
        match proof {
            Proof::None => None,
            Proof::Token(hash) => self.of_token(hash),
            Proof::Certificate(chain) => self.of_certificate(chain),
        }
    }
}

/// The roster of now, shared by the doors and replaced whole on reload.
#[derive(Debug)]
pub struct Access {
    roster: ArcSwap<Roster>,
    changed: watch::Sender<()>,
}

impl Default for Access {
    /// Nobody is asked who they are.
    fn default() -> Access {
        Access::new(Roster::default())
    }
}

impl Access {
    /// Opens the doors to those in the roster.
    pub fn new(roster: Roster) -> Access {
        Access { roster: ArcSwap::from_pointee(roster), changed: watch::Sender::new(()) }
    }

    /// The roster of now.
    pub fn roster(&self) -> Arc<Roster> {
        self.roster.load_full()
    }

    /// Takes over the roster of `other`; whoever is in is looked at again.
    pub fn replace(&self, other: &Access) {
        self.roster.store(other.roster());
        self.changed.send_replace(());
    }

    /// Hears of each replacement.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Lets somebody in, or says why not.
    ///
    /// `token` is empty where none was given, and then `chain` counts, the certificates shown. `reachable` says
    /// whether other machines can come to this door.
    ///
    /// # Errors
    ///
    /// They must go.
    pub fn admit(
        &self,
        door: Door,
        reachable: bool,
        token: &str,
        chain: &Arc<[CertificateDer<'static>]>,
    ) -> Result<Pass, Refused> {
        let roster = self.roster.load();
        let proof = match token {
            _ if token.len() > TOKEN_BYTES_MAX => return Err(Refused::Wrong),
            "" if chain.is_empty() => Proof::None,
            "" => Proof::Certificate(chain.clone()),
            token => Proof::Token(blake3::hash(token.as_bytes())),
        };
        match roster.of(&proof) {
            Some(grant) if grant.rights.meet(door.rights()) => Ok(Pass { grant: grant.clone(), door, proof }),
            _ if !reachable && !roster.guards(door) => {
                Ok(Pass { grant: Arc::new(Grant::everything()), door, proof: Proof::None })
            }
            Some(grant) => Err(Refused::Rights {
                name: grant.name.clone(),
                rights: match door {
                    Door::Socket => "\"read\" or \"feedback\"",
                    Door::Http => "\"operate\"",
                    Door::Reports => "\"feedback\"",
                },
            }),
            None if matches!(proof, Proof::Token(_)) => Err(Refused::Wrong),
            None => Err(Refused::Missing),
        }
    }

    /// What the roster of now says of somebody who was let in by an earlier one.
    pub fn standing(&self, pass: &Pass) -> Standing {
        let roster = self.roster.load();
        let grant = match &pass.proof {
            Proof::None if roster.guards(pass.door) => return Standing::Gone,
            Proof::None => return Standing::Same,
            proof => roster.of(proof),
        };
        match grant {
            Some(grant) if **grant == *pass.grant => Standing::Same,
            Some(grant) if grant.rights.meet(pass.door.rights()) => Standing::Changed,
            _ => Standing::Gone,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
