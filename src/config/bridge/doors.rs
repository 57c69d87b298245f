//! Where a bridge connects to.

use std::path::Path;

use hyper::Uri;
use tokio_rustls::TlsConnector;

use crate::access::tls;
use crate::config::reader::Section;
use crate::wire::{self, Address};

pub(super) fn url(
    section: &Section<'_, '_>,
    key: &'static str,
    warnings: &mut Vec<String>,
) -> Option<String> {
    const EXAMPLE: &str = "as https://helpdesk.example.com or https://example.com/helpdesk";
    let Some(url) = section.string(key) else {
        if !section.has(key) {
            section.mistake(format_args!("url is missing: the helpdesk's address, {EXAMPLE}"));
        }
        return None;
    };
    let parsed = url.value.parse::<Uri>().ok();
    let scheme = parsed.as_ref().and_then(Uri::scheme_str).unwrap_or_default().to_owned();
    let authority = parsed.as_ref().and_then(Uri::authority);
    let host = authority.map(|authority| authority.host()).unwrap_or_default();
    if !["http", "https"].contains(&scheme.as_str()) || host.is_empty() {
        section.mistake_at(&url, format_args!("{:?}: must be an address, {EXAMPLE}", url.value));
        return None;
    }
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        section.mistake_at(
            &url,
            "holds a name or password: give the token in token_file, the rest in [bridge.options]",
        );
        return None;
    }
    if parsed.as_ref().and_then(Uri::query).is_some() {
        section.mistake_at(&url, format_args!("{:?}: must not hold a query", url.value));
        return None;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = bare == "localhost" || bare.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
    if scheme == "http" && !is_here {
        warnings.push(format!(
            "{} = {}: the token and the posts cross the network readable by whoever is on the way: use https",
            url.key, url.value
        ));
    }
    Some(url.value)
}

pub(super) fn socket(section: &Section<'_, '_>, wire: &wire::connection::Config) -> Address {
    match section.file("socket") {
        Some(given) => Address::parse(&given.value),
        None => wire.address(),
    }
}

/// TLS with the daemon, as `vigie tail` speaks it.
pub(super) fn socket_tls(section: &Section<'_, '_>, socket: &Address) -> Option<TlsConnector> {
    let [ca, certificate, key] =
        ["socket_ca_file", "socket_cert_file", "socket_key_file"].map(|key| section.file(key));
    if certificate.is_some() != key.is_some() {
        section.mistake("socket_cert_file and socket_key_file belong together");
        return None;
    }
    let Some(ca) = ca else {
        if certificate.is_some() {
            section.mistake("socket_cert_file needs socket_ca_file: without it no TLS is spoken");
        }
        return None;
    };
    if let Address::Unix(path) = socket {
        let path = path.display();
        section.mistake_at(
            &ca,
            format_args!("{path} is a socket file; TLS is for TCP: give socket as HOST:PORT"),
        );
        return None;
    }
    let identity = certificate.as_ref().zip(key.as_ref());
    let identity = identity.map(|(certificate, key)| (Path::new(&certificate.value), Path::new(&key.value)));
    tls::client(Path::new(&ca.value), identity).map_err(|error| section.mistake_at(&ca, error)).ok()
}
