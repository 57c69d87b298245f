//! Rosters, and what they let in.

use parking_lot::Mutex;
use tracing::subscriber::DefaultGuard;

use super::*;

/// What this thread logs from now on, down to `debug`, as long as this lives.
pub(crate) struct Log(
    Arc<Mutex<Vec<u8>>>,
    #[expect(dead_code, reason = "listens until dropped")] DefaultGuard,
);

impl Log {
    pub(crate) fn listen() -> Log {
        struct Writer(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Writer {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let text = Arc::<Mutex<Vec<u8>>>::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .without_time()
            .with_writer(move || Writer(writer.clone()))
            .finish();
        Log(text, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock()).into_owned()
    }
}

fn grant(name: &str, rights: &[Right]) -> Grant {
    Grant { name: name.into(), rights: rights.iter().copied().collect(), brands: None }
}

fn access(tokens: &[(&str, Grant)]) -> Access {
    let mut roster = Roster::default();
    tokens.iter().for_each(|(secret, grant)| assert!(roster.add_token(secret, grant.clone())));
    Access::new(roster)
}

fn nobody() -> Arc<[CertificateDer<'static>]> {
    Arc::default()
}

#[test]
fn a_door_of_this_machine_is_open_until_somebody_has_a_right_there() {
    let check = |access: &Access, door, reachable, token: &str, expected: Result<&str, Refused>| {
        let admitted =
            access.admit(door, reachable, token, &nobody()).map(|pass| pass.grant.name.to_string());
        assert_eq!(admitted, expected.map(str::to_owned), "{door:?} {reachable} {token}");
    };
    let open = Access::default();
    check(&open, Door::Socket, false, "", Ok(""));
    check(&open, Door::Socket, false, "whatever", Ok(""));
    check(&open, Door::Socket, true, "", Err(Refused::Missing));
    check(&open, Door::Socket, true, "whatever", Err(Refused::Wrong));
    let guarded = access(&[
        ("of the desk", grant("desk", &[Right::Read])),
        ("of the operator", grant("operator", &[Right::Operate])),
    ]);
    for reachable in [false, true] {
        check(&guarded, Door::Socket, reachable, "of the desk", Ok("desk"));
        check(&guarded, Door::Socket, reachable, "", Err(Refused::Missing));
        check(&guarded, Door::Socket, reachable, "Of the desk", Err(Refused::Wrong));
        check(&guarded, Door::Http, reachable, "of the operator", Ok("operator"));
        check(&guarded, Door::Http, reachable, "of the des", Err(Refused::Wrong));
        let name = Arc::from("operator");
        let refused = Refused::Rights { name, rights: "\"read\" or \"feedback\"" };
        check(&guarded, Door::Socket, reachable, "of the operator", Err(refused));
    }
    let reason = guarded.admit(Door::Http, true, "of the desk", &nobody()).unwrap_err();
    assert_eq!(reason.to_string(), "token \"desk\" has no right \"operate\" here");
    assert!(!reason.is_guess() && Refused::Wrong.is_guess() && !Refused::Missing.is_guess());
    // A token for the console alone closes the socket to nobody.
    let console = access(&[("of the operator", grant("operator", &[Right::Operate]))]);
    check(&console, Door::Socket, false, "", Ok(""));
    check(&console, Door::Http, false, "", Err(Refused::Missing));
}

#[test]
fn each_of_many_tokens_opens_its_own_and_no_secret_is_in_there_twice() {
    let names: Vec<String> = (0..50).map(|number| format!("token {number}")).collect();
    let tokens: Vec<_> = names.iter().map(|name| (name.as_str(), grant(name, &[Right::Read]))).collect();
    let access = access(&tokens);
    for name in &names {
        let pass = access.admit(Door::Socket, true, name, &nobody()).unwrap();
        assert_eq!(&*pass.grant.name, name);
    }
    let mut roster = Roster::default();
    assert!(roster.add_token("swordfish", grant("one", &[])));
    assert!(!roster.add_token("swordfish", grant("other", &[Right::Read])));
    assert_eq!(roster.tokens.len(), 1);
}

#[test]
fn a_replaced_roster_says_who_stays_who_changes_and_who_goes() {
    let pass_of = |access: &Access, token| access.admit(Door::Socket, false, token, &nobody()).unwrap();
    let before = access(&[("secret", grant("desk", &[Right::Read]))]);
    let pass = pass_of(&before, "secret");
    let standing = |tokens: &[(&str, Grant)]| {
        before.replace(&access(tokens));
        before.standing(&pass)
    };
    assert_eq!(standing(&[("secret", grant("desk", &[Right::Read]))]), Standing::Same);
    assert_eq!(standing(&[("secret", grant("desk", &[Right::Read, Right::Feedback]))]), Standing::Changed);
    assert_eq!(standing(&[("secret", grant("desk", &[Right::Operate]))]), Standing::Gone);
    assert_eq!(standing(&[("another", grant("desk", &[Right::Read]))]), Standing::Gone);
    let brands = Brands::new(["Lumio".to_owned()]);
    assert_eq!(standing(&[("secret", Grant { brands, ..grant("desk", &[Right::Read]) })]), Standing::Changed);
    // Who came in while nobody was asked goes when everybody is.
    let open = Access::default();
    let anyone = pass_of(&open, "");
    assert_eq!(open.standing(&anyone), Standing::Same);
    open.replace(&access(&[("of the operator", grant("operator", &[Right::Operate]))]));
    assert_eq!(open.standing(&anyone), Standing::Same, "the console's tokens guard the console");
    open.replace(&access(&[("secret", grant("desk", &[Right::Read]))]));
    assert_eq!(open.standing(&anyone), Standing::Gone);
}

#[test]
fn nothing_that_is_printed_holds_a_secret() {
    let access = access(&[("swordfish swordfish", grant("desk", &[Right::Read]))]);
    let pass = access.admit(Door::Socket, true, "swordfish swordfish", &nobody()).unwrap();
    let printed = format!("{access:?} {pass:?} {:?}", access.roster());
    assert!(printed.contains("desk"), "{printed}");
    let hash = blake3::hash(b"swordfish swordfish");
    assert!(!printed.contains("swordfish") && !printed.contains(hash.to_hex().as_str()), "{printed}");
}

#[test]
fn a_grant_of_some_brands_has_subscriptions_of_its_own() {
    let limited = Grant { brands: Brands::new(["Lumio".to_owned()]), ..grant("desk", &[]) };
    assert_eq!(limited.subscription("main"), "desk/main");
    assert_eq!(grant("desk", &[]).subscription("main"), "main");
}
