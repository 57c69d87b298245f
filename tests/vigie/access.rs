//! Who may do what, at the real daemon: tokens from files, rotation by reload, the console, TLS.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use vigie::ticket::proto::{TicketStatus, client_message::Kind, delivery::Record};
use vigie::wire::{Address, Client, ClientError, Introduction};

use crate::daemon::{Daemon, State, patiently, reserved, run, vigie};

const BRANDS: &str = r#"
    [[brand]]
    name = "Lumio"
    handles = ["@lumio"]
    names = ["lumio"]
    [[brand]]
    name = "Volt"
    handles = ["@volt"]
    names = ["volt"]
    [model]
    name = "small"
    runtime = "rten"
"#;

/// One ticket of each brand.
const POSTS: &str = r#"{"id":"1","author":"a1","text":"@lumio internet down again since this morning, fix it now","created_at":"2026-11-02T10:00:00Z"}
{"id":"2","author":"a2","text":"@volt no electricity since this morning, fix it now please","created_at":"2026-11-02T10:00:00Z"}
"#;

/// A daemon's folder with these further lines in its config.
fn state(access: &str) -> State {
    let state = State::new("");
    std::fs::write(state.path().join("posts.ndjson"), POSTS).unwrap();
    configure(&state, access);
    state
}

fn configure(state: &State, access: &str) {
    state.configure(&state.posts_source(), &format!("{access}\n{BRANDS}"));
}

fn write_secret(state: &State, name: &str, secret: &str) -> PathBuf {
    let path = state.path().join(name);
    std::fs::write(&path, secret).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn token(state: &State, name: &str, rest: &str) -> String {
    let file = write_secret(state, &format!("{name}.token"), &format!("the secret of {name}\n"));
    format!("[[token]]\nname = \"{name}\"\nfile = \"{}\"\n{rest}\n", file.display())
}

async fn connect(state: &State, token: &str) -> Result<Client, ClientError> {
    let introduction =
        Introduction { token: token.to_owned(), subscription: "desk".into(), ..Default::default() };
    patiently("a welcome", Client::connect(&Address::Unix(state.socket()), introduction)).await
}

/// The next ticket's id and brand.
async fn next(client: &mut Client) -> (Vec<u8>, String) {
    let delivery = patiently("a ticket", client.next()).await.unwrap();
    let Some(Record::Ticket(ticket)) = delivery.record else { panic!("{delivery:?}") };
    (ticket.id, ticket.brand)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    patiently(what, async {
        while !holds() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn feedback(state: &State) -> i64 {
    state.ledger().query_row("SELECT count(*) FROM feedback", [], |row| row.get(0)).unwrap()
}

fn reload(daemon: &Daemon) {
    daemon.signal("HUP");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_brand_sees_and_speaks_of_that_brand_alone() {
    let state = state("");
    configure(&state, &[token(&state, "lumio", "brands = [\"lumio\"]"), token(&state, "all", "")].concat());
    let _daemon = state.start();
    until("both tickets", || state.buckets().get("ticketed") == Some(&2)).await;
    let mut all = connect(&state, "the secret of all").await.unwrap();
    let (one, other) = (next(&mut all).await, next(&mut all).await);
    let volt = if one.1 == "Volt" { one.0 } else { other.0 };

    let mut lumio = connect(&state, "the secret of lumio").await.unwrap();
    assert_eq!(lumio.welcome().pending, 1);
    let (id, brand) = next(&mut lumio).await;
    assert_eq!(brand, "Lumio");
    let status = |ticket_id: &[u8]| {
        Kind::TicketStatus(TicketStatus { ticket_id: ticket_id.to_vec(), state: 1, ..Default::default() })
    };
    // In this order: when the second is stored, the first has been looked at.
    lumio.report(status(&volt)).await.unwrap();
    lumio.report(status(&id)).await.unwrap();
    until("the status", || feedback(&state) > 0).await;
    let stored: Vec<u8> =
        state.ledger().query_row("SELECT ticket_id FROM feedback", [], |row| row.get(0)).unwrap();
    assert_eq!(stored, id, "only the one of its own brand");
    // Who has all brands may speak of all.
    all.report(status(&volt)).await.unwrap();
    until("the other status", || feedback(&state) == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_a_new_secret_and_closes_who_has_the_old_one() {
    let state = state("");
    let tokens = [token(&state, "bridge", ""), token(&state, "other", "")].concat();
    configure(&state, &tokens);
    let daemon = state.start();
    let mut bridge = connect(&state, "the secret of bridge").await.unwrap();
    let mut other = connect(&state, "the secret of other").await.unwrap();
    assert!(connect(&state, "").await.is_err());

    // A mistake in the file leaves everything as it was.
    write_secret(&state, "bridge.token", "short");
    reload(&daemon);
    daemon.wait_for("reload refused");
    drop(next(&mut bridge).await);

    write_secret(&state, "bridge.token", "another secret of bridge");
    reload(&daemon);
    let farewell = patiently("a goodbye", async {
        loop {
            match bridge.next().await {
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    })
    .await;
    assert!(farewell.contains("no longer valid") && farewell.contains("CODE_TOKEN_REFUSED"), "{farewell}");
    assert!(connect(&state, "the secret of bridge").await.is_err());
    drop(connect(&state, "another secret of bridge").await.unwrap());
    drop(patiently("a ticket", other.next()).await.unwrap());
    let (_, log) = daemon.terminate();
    assert!(!log.contains("secret of"), "a secret in the log:\n{log}");
}

/// Nobody but its owner may read a token; a file that says otherwise is told of, and works.
#[test]
fn a_token_that_everyone_may_read_is_warned_of() {
    let state = state("");
    configure(&state, &token(&state, "bridge", ""));
    let check = || run(vigie().args(["check", "-c"]).arg(&state.config), b"");
    let output = check();
    assert!(output.status.success() && !output.stderr.contains("warning"), "{}", output.stderr);
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(state.path().join("bridge.token"), open).unwrap();
    let output = check();
    assert!(output.status.success(), "{}", output.stderr);
    assert!(output.stderr.contains("(mode 644): chmod o-rwx"), "{}", output.stderr);
}

#[test]
fn mistakes_about_tokens_are_all_named() {
    let state = state("");
    // For the name with a slash.
    std::fs::create_dir(state.path().join("a")).unwrap();
    let good = token(&state, "good", "");
    let same = good.replace("name = \"good\"", "name = \"same\"");
    let access = [
        good.as_str(),
        &same,
        &token(&state, "good", ""),
        &token(&state, "a/b", ""),
        &token(&state, "brand", "brands = [\"Acme\"]"),
        &token(&state, "right", "rights = [\"write\"]"),
        &token(&state, "nothing", "rights = []"),
        "[[token]]\nname = \"missing\"\nfile = \"/nowhere/token\"\n",
        "[[token]]\nname = \"neither\"\n",
        "[[token]]\nname = \"systemd\"\ncredential = \"vigie\"\n",
        "[[token]]\nname = \"certificate\"\ncertificate = \"bridge.example\"\nrights = [\"operate\"]\n",
        "[tls]\ncert_file = \"/nowhere/cert.pem\"\n",
    ];
    configure(&state, &access.concat());
    let output =
        run(vigie().args(["check", "-c"]).arg(&state.config).env_remove("CREDENTIALS_DIRECTORY"), b"");
    assert_eq!(output.status.code(), Some(64), "{}", output.stderr);
    for expected in [
        "token[2]: holds the same secret as another token",
        "token[3].name: \"good\" is taken by another token",
        "token[4].name: \"a/b\": must be 1 to 100 of",
        "token[5]: brands: there is no [[brand]] \"Acme\"",
        "token[6]: rights: \"write\" is none: \"read\", \"feedback\" or \"operate\"",
        "token[7]: rights = []: a token without a right opens nothing",
        "token[8].file: /nowhere/token: No such file",
        "token[9]: give one of file, credential and certificate",
        "token[10].credential: \"vigie\": $CREDENTIALS_DIRECTORY is not set",
        "token[11].certificate: needs [tls] client_ca_file",
        "tls: cert_file and key_file belong together",
        "http: a [[token]] with a certificate has the right \"operate\", and this console sees none",
    ] {
        assert!(output.stderr.contains(expected), "{expected:?} is missing in\n{}", output.stderr);
    }
}

#[test]
fn doors_to_other_machines_want_somebody_who_may_come_in() {
    let state = state("");
    let check = |access: &str, http: &str| {
        configure(&state, access);
        let text = std::fs::read_to_string(&state.config).unwrap();
        let text = text.replace("[wire]\n", "[wire]\ntcp = \"0.0.0.0:0\"\n").replace("127.0.0.1:0", http);
        std::fs::write(&state.config, text).unwrap();
        run(vigie().args(["check", "-c"]).arg(&state.config), b"")
    };
    let output = check("", "0.0.0.0:0");
    assert!(output.stderr.contains("wire.tcp: 0.0.0.0:0: other machines can reach this: set token_file"));
    assert!(output.stderr.contains("http.listen: 0.0.0.0:0: other machines can reach this: add a [[token]]"));
    let output = check(&token(&state, "bridge", ""), "0.0.0.0:0");
    assert!(
        !output.stderr.contains("wire.tcp") && output.stderr.contains("http.listen"),
        "{}",
        output.stderr
    );
    let output = check(&token(&state, "bridge", "rights = [\"read\", \"operate\"]"), "0.0.0.0:0");
    assert!(output.status.success(), "{}", output.stderr);
    for door in ["wire.tcp = 0.0.0.0:0", "http.listen = 0.0.0.0:0"] {
        let warned = format!("warning: {door}: tokens and posts cross the network readable");
        assert!(output.stderr.contains(&warned), "{}", output.stderr);
    }
}

/// As systemd hands it over: a file of that name in a folder that it names.
#[tokio::test(flavor = "multi_thread")]
async fn a_credential_of_systemd_is_a_token() {
    let state = state("[[token]]\nname = \"bridge\"\ncredential = \"vigie-bridge\"\n");
    write_secret(&state, "vigie-bridge", "the secret of systemd");
    let output =
        run(vigie().args(["check", "-c"]).arg(&state.config).env("CREDENTIALS_DIRECTORY", state.path()), b"");
    assert!(output.status.success(), "{}", output.stderr);
    assert!(!output.stderr.contains("warning"), "{}", output.stderr);
}

#[test]
fn a_new_token_is_written_once_and_for_its_group_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zammad.token");
    let make = || run(vigie().args(["token", "new", "--out"]).arg(&path), b"");
    let output = make();
    assert!(output.status.success(), "{}", output.stderr);
    let secret = std::fs::read_to_string(&path).unwrap();
    assert_eq!(secret.trim().len(), 43);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(!output.stdout.contains(secret.trim()), "it is in the file, and need not be on the screen");
    for expected in ["name   = \"zammad\"", &format!("file   = {:?}", path.display().to_string())] {
        assert!(output.stdout.contains(expected), "{}", output.stdout);
    }
    let again = make();
    assert_eq!(again.status.code(), Some(64));
    assert!(again.stderr.contains("zammad.token") && again.stderr.contains("exists"), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), secret);

    let shown = run(vigie().args(["token", "new"]), b"");
    assert_eq!(shown.stdout.trim().len(), 43, "alone on stdout: {}", shown.stdout);
    assert!(shown.stderr.contains("[[token]]"), "{}", shown.stderr);
}

/// Certificates in a folder: an authority, and one for this machine.
pub(crate) fn certificates(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    for (file, name) in [("server", "localhost"), ("client", "bridge.example")] {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        std::fs::write(folder.join(format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem()).unwrap();
    }
}

/// Both doors open to the network, with TLS; `tail` comes in by certificate, `status` by token.
#[tokio::test(flavor = "multi_thread")]
async fn tail_and_status_come_in_over_tls() {
    let state = state("");
    certificates(state.path());
    let path = state.path().display();
    let access = [
        format!("[tls]\ncert_file = \"{path}/server.pem\"\nkey_file = \"{path}/server.key\"\n"),
        format!("client_ca_file = \"{path}/ca.pem\"\n"),
        "[[token]]\nname = \"bridge\"\ncertificate = \"bridge.example\"\n".to_owned(),
        token(&state, "operator", "rights = [\"operate\"]"),
    ];
    configure(&state, &access.concat());
    let port = reserved().port();
    let text = std::fs::read_to_string(&state.config).unwrap();
    let text = text
        .replace("[wire]\n", &format!("[wire]\ntcp = \"0.0.0.0:{port}\"\n"))
        .replace("127.0.0.1:0", "0.0.0.0:0");
    std::fs::write(&state.config, text).unwrap();
    let daemon = state.start();
    // By the name in the certificate, as everywhere but on the machine itself.
    let console = daemon.console().replace("0.0.0.0", "localhost");
    let file = |name: &str| state.path().join(name);

    let mut plain = vigie();
    plain.args(["tail", "--socket", &format!("localhost:{port}")]);
    let output = tokio::task::spawn_blocking(move || run(&mut plain, b"")).await.unwrap();
    assert_eq!(output.status.code(), Some(64), "{}", output.stderr);
    assert!(output.stderr.contains("speaks TLS: give --tls-ca"), "{}", output.stderr);

    let mut tail = vigie();
    tail.args(["tail", "--json", "--count", "2", "--socket", &format!("localhost:{port}")]);
    tail.arg("--tls-ca").arg(file("ca.pem")).arg("--cert").arg(file("client.pem"));
    tail.arg("--key").arg(file("client.key"));
    let output = tokio::task::spawn_blocking(move || run(&mut tail, b"")).await.unwrap();
    assert!(output.status.success(), "{}", output.stderr);
    assert_eq!(output.stdout.lines().count(), 2, "{}", output.stdout);

    let ask = async |token: Option<&str>| {
        let mut status = vigie();
        status.args(["status", "--json", "--http", &console, "--tls-ca"]).arg(file("ca.pem"));
        token.map(|token| status.arg("--token-file").arg(file(token)));
        tokio::task::spawn_blocking(move || run(&mut status, b"")).await.unwrap()
    };
    let output = ask(Some("operator.token")).await;
    assert!(output.status.success(), "{}", output.stderr);
    assert!(output.stdout.contains("\"connections\""), "{}", output.stdout);
    let output = ask(None).await;
    assert!(output.stderr.contains("401") && output.stderr.contains("asks for a token"), "{}", output.stderr);
}

/// Each mistake is told at the key that it is about.
#[test]
fn mistakes_of_certificates_are_told_at_their_key() {
    let state = state("");
    certificates(state.path());
    std::fs::write(state.path().join("empty"), "").unwrap();
    let path = state.path().display().to_string();
    let tls = |cert: &str, key: &str, ca: &str| {
        format!(
            "[tls]\ncert_file = \"{path}/{cert}\"\nkey_file = \"{path}/{key}\"\nclient_ca_file = \"{path}/{ca}\"\n"
        )
    };
    let bridge = |name: &str, certificate: &str| {
        format!("[[token]]\nname = \"{name}\"\ncertificate = \"{certificate}\"\n")
    };
    let check = |access: String, expected: &str| {
        configure(&state, &access);
        let output = run(vigie().args(["check", "-c"]).arg(&state.config), b"");
        assert_eq!(output.status.code(), Some(64), "{}", output.stderr);
        assert!(output.stderr.contains("has 1 mistake:"), "{}", output.stderr);
        assert!(output.stderr.contains(expected), "{expected} is missing in: {}", output.stderr);
    };
    let one = || bridge("first", "bridge.example");
    check(tls("none", "server.key", "ca.pem") + &one(), &format!("tls.cert_file: {path}/none: No such file"));
    check(tls("empty", "server.key", "ca.pem") + &one(), &format!("tls.cert_file: {path}/empty: holds no"));
    check(tls("server.pem", "empty", "ca.pem") + &one(), &format!("tls.key_file: {path}/empty: holds no"));
    check(tls("server.pem", "client.key", "ca.pem") + &one(), &format!("tls.key_file: {path}/client.key: "));
    check(tls("server.pem", "server.key", "empty") + &one(), &format!("tls.client_ca_file: {path}/empty: "));
    for same in ["bridge.example", "Bridge.Example"] {
        let both = tls("server.pem", "server.key", "ca.pem") + &one() + &bridge("second", same);
        check(both, "token[2].certificate: tokens \"first\" and \"second\" name the same certificate");
    }
}
