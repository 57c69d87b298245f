//! `[[token]]`, `[tls]` and `[wire] token_file`: who may do what.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::reader::{Placed, Section};
use crate::access::brands::{self, Brands};
use crate::access::tls::{Part, Tls};
use crate::access::{Door, Grant, Right, Rights, Roster, secret};

/// The variable in which systemd says where the credentials are (systemd.exec(5), "Credentials").
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Longest name of a token. With it begin the names of its subscriptions.
pub const NAME_BYTES_MAX: usize = 100;

/// Most tokens and certificates: each guess is compared with all.
const TOKENS_MAX: usize = 1000;

/// Reads who may do what. `brands` are those of the file. Adds to `warnings` what works and is not as it should be.
pub(super) fn access(
    root: &Section<'_, '_>,
    wire: &Section<'_, '_>,
    brands: &[&str],
    warnings: &mut Vec<String>,
) -> Roster {
    let mut roster = Roster::default();
    let has_authority = tls(&root.section("tls"), &mut roster, warnings);
    if let Some(path) = wire.string("token_file")
        && let Some(secret) = secret_of(wire, &path, Path::new(&path.value), warnings)
    {
        let grant = Grant { name: "token_file".into(), rights: Rights::SOCKET, brands: None };
        roster.add_token(&secret, grant);
    }
    let sections = root.sections("token");
    if sections.len() > TOKENS_MAX {
        root.mistake(format_args!("{} [[token]]: at most {TOKENS_MAX}", sections.len()));
        return roster;
    }
    let mut names: Vec<String> = vec!["token_file".to_owned()];
    let mut certificates = Vec::new();
    for section in &sections {
        token(section, brands, has_authority, &mut names, &mut certificates, &mut roster, warnings);
        section.refuse_unknown();
    }
    if has_authority && certificates.is_empty() {
        root.section("tls").mistake(
            "client_ca_file opens nothing until a [[token]] names a client's certificate: certificate = \"NAME\"",
        );
    }
    roster
}

fn token(
    section: &Section<'_, '_>,
    brands: &[&str],
    has_authority: bool,
    names: &mut Vec<String>,
    certificates: &mut Vec<(Option<ServerName<'static>>, Arc<str>)>,
    roster: &mut Roster,
    warnings: &mut Vec<String>,
) {
    let name = section.string("name");
    let file = section.string("file");
    let credential = section.string("credential");
    let certificate = section.string("certificate");
    let grant = Grant {
        name: name.as_ref().map_or("", |name| &name.value).into(),
        rights: rights(section),
        brands: limited_to(section, brands),
    };
    match &name {
        None => section.mistake("name is missing: what logs and reasons call the token"),
        Some(name) if !is_name(&name.value) => section.mistake_at(
            name,
            format_args!("{:?}: must be 1 to {NAME_BYTES_MAX} of a-z A-Z 0-9 . _ -", name.value),
        ),
        Some(name) if names.contains(&name.value) => {
            section.mistake_at(name, format_args!("{:?} is taken by another token", name.value));
        }
        Some(name) => names.push(name.value.clone()),
    }
    let secret = match (&file, &credential, &certificate) {
        (Some(file), None, None) => secret_of(section, file, Path::new(&file.value), warnings),
        (None, Some(credential), None) => from_systemd(section, credential, warnings),
        (None, None, Some(certificate)) => {
            // Written as one likes: the case of a DNS name says nothing.
            let opened = ServerName::try_from(certificate.value.to_ascii_lowercase()).ok();
            let same = certificates.iter().find(|(other, _)| opened.is_some() && *other == opened);
            if let Some((_, other)) = same {
                // The first would win, and the other's rights count for nothing.
                section.mistake_at(
                    certificate,
                    format_args!("tokens {other:?} and {:?} name the same certificate", grant.name),
                );
            }
            certificates.push((opened, grant.name.clone()));
            if !has_authority {
                section.mistake_at(certificate, "needs [tls] client_ca_file, the authority that signs it");
            }
            match ServerName::try_from(certificate.value.clone()) {
                Ok(name) => roster.add_certificate(name, grant),
                Err(_) => section.mistake_at(
                    certificate,
                    format_args!(
                        "{:?}: must be a DNS name or address, as in the certificate's subjectAltName",
                        certificate.value
                    ),
                ),
            }
            return;
        }
        _ => return section.mistake("give one of file, credential and certificate"),
    };
    if let Some(secret) = secret
        && !roster.add_token(&secret, grant)
    {
        section.mistake("holds the same secret as another token: make one with `vigie token new`");
    }
}

pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed)
}

fn rights(section: &Section<'_, '_>) -> Rights {
    if !section.has("rights") {
        // Asked for all the same, so that the key is known.
        section.strings("rights");
        return Rights::SOCKET;
    }
    let given = section.strings("rights");
    let right = |given: &String| {
        let known = Right::ALL.iter().find(|(name, _)| name == given).map(|(_, right)| *right);
        if known.is_none() {
            section.mistake(format_args!("rights: {given:?} is none: \"read\", \"feedback\" or \"operate\""));
        }
        known
    };
    let rights: Rights = given.iter().filter_map(right).collect();
    if given.is_empty() {
        section.mistake("rights = []: a token without a right opens nothing; leave it out instead");
    }
    rights
}

/// The brands of the token as the file writes them; `None` where it has all.
fn limited_to(section: &Section<'_, '_>, known: &[&str]) -> Option<Brands> {
    let given = section.strings("brands");
    if !section.has("brands") {
        return None;
    }
    if given.is_empty() {
        section.mistake("brands = []: a token of no brand sees nothing; leave the key out for all brands");
    }
    let brand = |given: &String| {
        let brand = known.iter().find(|brand| brands::is_same(brand, given));
        // One without a name may be the one that is meant: that is told.
        if brand.is_none() && known.iter().all(|brand| !brand.trim().is_empty()) {
            section.mistake(format_args!("brands: there is no [[brand]] {given:?}"));
        }
        brand.map_or_else(|| given.clone(), |brand| (*brand).to_owned())
    };
    // A file with such a mistake is refused; until then it must not look like one without a limit.
    Brands::new(given.iter().map(brand)).or_else(|| Brands::new([String::new()]))
}

fn from_systemd(
    section: &Section<'_, '_>,
    credential: &Placed<String>,
    warnings: &mut Vec<String>,
) -> Option<String> {
    secret_of(section, credential, &credential_path(section, credential)?, warnings)
}

/// Where systemd has put the credential of this name.
pub(super) fn credential_path(section: &Section<'_, '_>, credential: &Placed<String>) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os(CREDENTIALS).map(PathBuf::from) else {
        section.mistake_at(
            credential,
            format_args!(
                "{:?}: ${CREDENTIALS} is not set: this config is for a unit with LoadCredential={}:FILE",
                credential.value, credential.value
            ),
        );
        return None;
    };
    if !is_name(&credential.value) {
        section.mistake_at(credential, format_args!("{:?}: must be a credential's name", credential.value));
        return None;
    }
    Some(folder.join(&credential.value))
}

fn secret_of(
    section: &Section<'_, '_>,
    given: &Placed<String>,
    path: &Path,
    warnings: &mut Vec<String>,
) -> Option<String> {
    read_secret(section, given, path, warnings, secret::token)
}

/// The secret that `taken` finds in this file; what is wrong with it is a mistake at `given`.
pub(super) fn read_secret(
    section: &Section<'_, '_>,
    given: &Placed<String>,
    path: &Path,
    warnings: &mut Vec<String>,
    taken: impl FnOnce(Vec<u8>) -> Result<String, String>,
) -> Option<String> {
    let read = secret::read(path).map_err(|error| error.to_string());
    let secret = read.and_then(|read| {
        warnings.extend(read.warning);
        taken(read.bytes)
    });
    secret.map_err(|reason| section.mistake_at(given, format_args!("{}: {reason}", path.display()))).ok()
}

/// Reads `[tls]`; returns whether there is an authority for clients' certificates.
fn tls(section: &Section<'_, '_>, roster: &mut Roster, warnings: &mut Vec<String>) -> bool {
    let certificate = section.file("cert_file");
    let key = section.file("key_file");
    let client_ca = section.file("client_ca_file");
    section.refuse_unknown();
    match (&certificate, &key) {
        (Some(certificate), Some(key)) => {
            let path = |given: &Placed<String>| PathBuf::from(&given.value);
            let authority = client_ca.as_ref().map(path);
            match Tls::load(&path(certificate), &path(key), authority.as_deref(), warnings) {
                Ok(tls) => roster.set_tls(tls),
                Err((part, error)) => {
                    let given = match part {
                        Part::Certificate => Some(certificate),
                        Part::Key => Some(key),
                        Part::ClientCa => client_ca.as_ref(),
                    };
                    given.map_or_else(|| section.mistake(&error), |given| section.mistake_at(given, &error));
                }
            }
        }
        (None, None) if client_ca.is_none() => {}
        _ => section.mistake("cert_file and key_file belong together, and client_ca_file needs both"),
    }
    client_ca.is_some()
}

/// What an operator should know about doors that other machines can reach.
pub(super) fn warn_of_doors(
    roster: &Roster,
    doors: &[(&str, std::net::SocketAddr)],
    warnings: &mut Vec<String>,
) {
    for (key, address) in doors {
        if !address.ip().is_loopback() && roster.tls().is_none() {
            warnings.push(format!(
                "{key} = {address}: tokens and posts cross the network readable by whoever is on the way: set [tls]"
            ));
        }
    }
}

/// Whether every certificate that gives a right at the console can be shown there: it would guard a console that
/// never asks for one, and lock everybody out.
pub(super) fn check_certificates(
    section: &Section<'_, '_>,
    console: Option<std::net::SocketAddr>,
    roster: &Roster,
) {
    if console.is_none_or(|address| address.ip().is_loopback()) && roster.knows_certificate(Door::Http) {
        section.mistake(
            "a [[token]] with a certificate has the right \"operate\", and this console sees none: it speaks TLS only \
             where other machines can reach it; give that right to a token with a file, or listen elsewhere",
        );
    }
}

/// Whether somebody may come to a door that other machines can reach.
pub(super) fn check_door(
    section: &Section<'_, '_>,
    address: &Placed<std::net::SocketAddr>,
    door: Door,
    roster: &Roster,
) {
    if !address.value.ip().is_loopback() && !roster.guards(door) {
        let remedy = match door {
            Door::Socket => "set token_file, or a [[token]] with the right \"read\" or \"feedback\"",
            Door::Http => "add a [[token]] with the right \"operate\"",
            Door::Reports => "add a [[token]] with the right \"feedback\"",
        };
        section
            .mistake_at(address, format_args!("{}: other machines can reach this: {remedy}", address.value));
    }
}
