//! The session against scripts, with a clock that only the script moves.

use super::*;
use crate::ticket::proto::{Ack, AgentState, Hello, Subscription, TicketStatus, Touchpoint};
use client_message::Kind as Client;

struct Script {
    session: Session,
    now: Instant,
}

impl Script {
    fn new(terms: Terms) -> Script {
        let now = Instant::now();
        Script { session: Session::new(Arc::new(terms), Visitor::anyone(now)), now }
    }

    /// A session that is open with this window.
    fn open(window: u32) -> Script {
        let mut script = Script::new(Terms::default());
        script.say(hello(window));
        script.subscribed(Ok(0));
        script
    }

    fn say(&mut self, kind: Client) -> Vec<Action> {
        let mut actions = Vec::new();
        self.session.receive(ClientMessage { kind: Some(kind) }, self.now, &mut actions);
        actions
    }

    fn ack(&mut self, seqs: &[u64]) -> Vec<Action> {
        self.say(Client::Ack(Ack { seqs: seqs.to_vec() }))
    }

    fn subscribed(&mut self, answer: Result<usize, String>) -> Vec<Action> {
        let mut actions = Vec::new();
        self.session.subscribed(answer, self.now, &mut actions);
        actions
    }

    fn take(&mut self, seqs: &[u64]) {
        for seq in seqs {
            self.session.taken(seq_of(*seq));
        }
        self.session.spoke(self.now);
    }

    fn durable(&mut self, seqs: &[u64], answer: Result<(), String>) -> Vec<Action> {
        let mut actions = Vec::new();
        let seqs: Vec<Seq> = seqs.iter().map(|seq| seq_of(*seq)).collect();
        self.session.durable(&seqs, answer, self.now, &mut actions);
        actions
    }

    fn stop(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        self.session.stop(self.now, &mut actions);
        actions
    }

    /// Lets time pass up to the session's own deadline: how long that took, and what it does then.
    fn wait(&mut self) -> (Duration, Vec<Action>) {
        let deadline = self.session.deadline().expect("something to wait for");
        let waited = deadline - self.now;
        let mut actions = Vec::new();
        if !waited.is_zero() {
            self.session.elapse(deadline - Duration::from_nanos(1), &mut actions);
            assert_eq!(actions, [], "before the deadline");
        }
        self.now = deadline;
        self.session.elapse(self.now, &mut actions);
        (waited, actions)
    }
}

fn seq_of(seq: u64) -> Seq {
    Seq::new(seq).unwrap()
}

fn hello(window: u32) -> Client {
    Client::Hello(Hello {
        protocol: 1,
        client: "bridge".into(),
        window,
        subscription: Some(Subscription { name: "desk".into(), ..Default::default() }),
        ..Default::default()
    })
}

fn heartbeat() -> Client {
    Client::Heartbeat(Heartbeat {})
}

fn nack(seq: u64, reason: &str, retry_after_ms: u32) -> Client {
    Client::Nack(Nack { seq, reason: reason.into(), retry_after_ms })
}

fn acked(seqs: &[u64]) -> Action {
    Action::Send(Kind::Acked(Acked { seqs: seqs.to_vec() }))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[track_caller]
fn assert_goodbye(actions: &[Action], code: Code, reason: &str) {
    let [Action::Send(Kind::Goodbye(goodbye)), Action::Close] = actions else {
        panic!("no goodbye and close: {actions:?}");
    };
    assert_eq!(goodbye.code, code as i32, "{goodbye:?}");
    assert!(goodbye.reason.contains(reason), "{goodbye:?} lacks {reason:?}");
}

#[test]
fn a_hello_subscribes_and_the_ledgers_answer_welcomes() {
    let mut script = Script::new(Terms { window_max: 7, ..Terms::default() });
    let actions = script.say(hello(50));
    let [Action::LetIn { client, request: Some(request), .. }] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert_eq!((client.as_str(), request.name.as_str()), ("bridge", "desk"));
    assert_eq!(script.session.room(), 0, "nothing is sent before the welcome");
    let welcome = Welcome {
        protocol: 1,
        server: concat!("vigie ", env!("CARGO_PKG_VERSION")).into(),
        window: 7,
        frame_bytes_max: 1_048_576,
        heartbeat_interval_ms: 15_000,
        pending: 12,
    };
    assert_eq!(script.subscribed(Ok(12)), [Action::Send(Kind::Welcome(welcome))]);
    assert_eq!(script.session.room(), 7);
}

#[test]
fn who_does_not_begin_with_a_hello_is_sent_away() {
    for first in [heartbeat(), Client::Ack(Ack::default()), nack(1, "", 0)] {
        let mut script = Script::new(Terms::default());
        assert_goodbye(&script.say(first), Code::HelloInvalid, "first message");
        assert!(script.session.is_closed());
        assert_eq!(script.say(hello(1)), [], "closed is closed");
    }
    let mut script = Script::new(Terms::default());
    let mut actions = Vec::new();
    script.session.receive(ClientMessage { kind: None }, script.now, &mut actions);
    assert_goodbye(&actions, Code::HelloInvalid, "first message");
}

#[test]
fn a_second_hello_ends_the_session() {
    let mut script = Script::new(Terms::default());
    script.say(hello(1));
    assert_goodbye(&script.say(hello(1)), Code::HelloInvalid, "second hello");
    assert_goodbye(&Script::open(1).say(hello(1)), Code::HelloInvalid, "second hello");
}

#[test]
fn no_hello_within_five_seconds_ends_the_session() {
    let mut script = Script::new(Terms::default());
    let (waited, actions) = script.wait();
    assert_eq!(waited, seconds(5));
    assert_goodbye(&actions, Code::HelloInvalid, "no hello within 5s");
}

#[test]
fn a_ledger_that_cannot_subscribe_is_our_fault() {
    let mut script = Script::new(Terms::default());
    script.say(hello(1));
    assert_eq!(script.session.deadline(), None, "the ledger may take its time");
    assert_goodbye(&script.subscribed(Err("disk full".into())), Code::Fault, "disk full");
}

#[test]
fn the_window_counts_what_is_unanswered_until_it_is_durable() {
    let mut script = Script::open(3);
    script.take(&[1, 2, 3]);
    assert_eq!(script.session.room(), 0);
    assert_eq!(script.ack(&[2]), [Action::Acknowledge(vec![seq_of(2)])]);
    assert_eq!(script.session.room(), 0, "not durable yet");
    assert_eq!(script.durable(&[2], Ok(())), [acked(&[2])]);
    assert_eq!(script.session.room(), 1);
    script.say(nack(1, "", 0));
    assert_eq!(script.session.room(), 2);
    script.session.untaken(seq_of(3), &mut Vec::new());
    assert_eq!(script.session.room(), 3);
}

#[test]
fn acks_of_unknown_foreign_and_answered_seqs_are_ignored() {
    let mut script = Script::open(10);
    script.take(&[5, 6]);
    assert_eq!(script.ack(&[0, 4, u64::MAX]), []);
    assert_eq!(script.ack(&[4, 6, 6, 5]), [Action::Acknowledge(vec![seq_of(6), seq_of(5)])]);
    assert_eq!(script.ack(&[5, 6]), [], "under way");
    assert_eq!(script.say(nack(5, "", 0)), [], "a nack comes too late");
    script.durable(&[5, 6], Ok(()));
    assert_eq!(script.ack(&[5, 6]), [], "done");
}

#[test]
fn an_acknowledgement_that_fails_ends_the_session() {
    let mut script = Script::open(10);
    script.take(&[5]);
    script.ack(&[5]);
    assert_goodbye(&script.durable(&[5], Err("disk gone".into())), Code::Fault, "disk gone");
}

#[test]
fn confirmations_are_split_to_the_frame_limit() {
    let mut script = Script::new(Terms { frame_bytes_max: 4096, ..Terms::default() });
    script.say(hello(65_536));
    script.subscribed(Ok(0));
    let seqs: Vec<u64> = (0..1000).map(|place| u64::MAX - place).collect();
    script.take(&seqs);
    script.ack(&seqs);
    let mut confirmed = Vec::new();
    for action in script.durable(&seqs, Ok(())) {
        let Action::Send(kind) = action else { panic!("{action:?}") };
        let message = crate::ticket::proto::ServerMessage { kind: Some(kind.clone()) };
        assert!(prost::Message::encoded_len(&message) <= 4096);
        let Kind::Acked(acked) = kind else { panic!("{kind:?}") };
        confirmed.extend(acked.seqs);
    }
    assert_eq!(confirmed, seqs);
}

#[test]
fn a_nack_is_put_back_after_what_it_asks_but_a_day_at_most() {
    let check = |retry_after_ms: u32, expected: Option<Duration>| {
        let mut script = Script::open(1);
        script.take(&[9]);
        let until = expected.map(|after| script.now + after);
        let expected = Action::PutBack { seq: seq_of(9), until, reason: "busy".into() };
        assert_eq!(script.say(nack(9, "busy", retry_after_ms)), [expected], "{retry_after_ms} ms");
        assert_eq!(script.say(nack(9, "busy", retry_after_ms)), [], "answered once");
    };
    check(0, None);
    check(1, Some(Duration::from_millis(1)));
    check(86_400_000, Some(seconds(86_400)));
    check(u32::MAX, Some(seconds(86_400)));
    assert_eq!(Script::open(1).say(nack(9, "", 0)), [], "unknown");
}

#[test]
fn of_a_nacks_reason_500_bytes_are_kept_whole_characters_only() {
    let mut script = Script::open(1);
    script.take(&[9]);
    let actions = script.say(nack(9, &format!("x{}", "é".repeat(300)), 0));
    let [Action::PutBack { reason, .. }] = actions.as_slice() else { panic!("{actions:?}") };
    assert_eq!(reason.len(), 499);
}

#[test]
fn a_silent_client_is_asked_twice_and_then_closed() {
    let mut script = Script::open(1);
    let beat = [Action::Send(Kind::Heartbeat(Heartbeat {}))];
    assert_eq!(script.wait(), (seconds(15), Vec::from(beat)));
    let (waited, actions) = script.wait();
    assert_eq!((waited, actions.len()), (seconds(15), 1));
    let (waited, actions) = script.wait();
    assert_eq!(waited, seconds(15));
    assert_goodbye(&actions, Code::Silent, "nothing heard for 45s");
}

#[test]
fn answering_heartbeats_is_enough_to_stay() {
    let mut script = Script::open(1);
    for _ in 0..100 {
        let (waited, actions) = script.wait();
        assert_eq!(waited, seconds(15));
        assert!(matches!(actions[..], [Action::Send(Kind::Heartbeat(_))]), "{actions:?}");
        assert_eq!(script.say(heartbeat()), [], "no heartbeat is answered with one for ever");
    }
}

#[test]
fn a_client_that_only_answers_is_asked_although_deliveries_keep_coming() {
    let mut script = Script::open(1000);
    let mut asked = 0;
    for seq in 1..200 {
        script.now += seconds(1);
        script.take(&[seq]);
        let mut actions = Vec::new();
        script.session.elapse(script.now, &mut actions);
        for action in actions {
            assert!(matches!(action, Action::Send(Kind::Heartbeat(_))), "{action:?}");
            asked += 1;
            script.say(heartbeat());
        }
    }
    assert!(asked >= 199 / 16, "asked {asked} times");
}

#[test]
fn a_client_that_keeps_talking_still_hears_from_us() {
    let mut script = Script::open(1);
    for _ in 0..14 {
        script.now += seconds(1);
        script.say(heartbeat());
    }
    let (waited, actions) = script.wait();
    assert_eq!(waited, seconds(1), "silent since the welcome, 15 s ago");
    assert!(matches!(actions[..], [Action::Send(Kind::Heartbeat(_))]), "{actions:?}");
}

#[test]
fn stopping_says_goodbye_and_awaits_the_answers_that_are_due() {
    let mut script = Script::open(5);
    script.take(&[1, 2]);
    let actions = script.stop();
    assert!(matches!(actions[..], [Action::Send(Kind::Goodbye(_))]), "not closed yet: {actions:?}");
    assert_eq!(script.session.room(), 0, "no more deliveries");
    assert_eq!(script.stop(), [], "once is enough");
    assert_eq!(script.ack(&[1]), [Action::Acknowledge(vec![seq_of(1)])]);
    assert_eq!(script.durable(&[1], Ok(())), [acked(&[1])]);
    let actions = script.say(nack(2, "", 0));
    assert!(matches!(actions[..], [Action::PutBack { .. }, Action::Close]), "{actions:?}");
    assert!(script.session.is_closed());
}

#[test]
fn stopping_ends_at_its_deadline_whatever_is_unanswered() {
    let mut script = Script::open(5);
    script.take(&[1]);
    script.stop();
    let (waited, actions) = script.wait();
    assert_eq!((waited, actions), (Terms::default().drain_max.mul_f64(0.75), vec![Action::Close]));
}

#[test]
fn stopping_closes_at_once_who_owes_nothing() {
    assert_goodbye(&Script::new(Terms::default()).stop(), Code::Shutdown, "connect again later");
    let mut script = Script::new(Terms::default());
    script.say(hello(1));
    assert_goodbye(&script.stop(), Code::Shutdown, "connect again later");
    assert_eq!(script.subscribed(Ok(1)), [], "the ledger's answer comes too late");
    assert_goodbye(&Script::open(1).stop(), Code::Shutdown, "connect again later");
}

#[test]
fn feedback_is_stored_and_broken_feedback_ends_the_session() {
    let status =
        |bytes| Client::TicketStatus(TicketStatus { ticket_id: vec![1; bytes], ..Default::default() });
    let actions = Script::open(1).say(status(16));
    assert!(matches!(actions[..], [Action::Store(Feedback::TicketStatus(..))]), "{actions:?}");
    assert_goodbye(&Script::open(1).say(status(15)), Code::FrameInvalid, "15 bytes");
}

#[test]
fn a_touchpoint_that_could_never_count_ends_the_connection() {
    let reason = "touchpoint: names nobody";
    assert_goodbye(
        &Script::open(1).say(Client::Touchpoint(Touchpoint::default())),
        Code::FrameInvalid,
        reason,
    );
}

#[test]
fn who_is_limited_to_brands_reports_nothing_that_counts_for_all() {
    use crate::access::Grant;
    use crate::access::brands::Brands;
    let only_lumio = Grant { brands: Brands::new(["Lumio".to_owned()]), ..Grant::everything() };
    let say = |kind| {
        let mut script = Script::open(1);
        let State::Open(open) = &mut script.session.state else { panic!("open") };
        open.pass.grant = Arc::new(only_lumio.clone());
        script.say(kind)
    };
    let reason = "limited to brands: it may not report touchpoints";
    assert_goodbye(&say(Client::Touchpoint(Touchpoint::default())), Code::TokenRefused, reason);
    let reason = "limited to brands: it may not report agents";
    assert_goodbye(&say(Client::AgentState(AgentState::default())), Code::TokenRefused, reason);
    let status = TicketStatus { ticket_id: vec![1; 16], ..Default::default() };
    let actions = say(Client::TicketStatus(status));
    assert!(matches!(actions[..], [Action::Store(Feedback::TicketStatusWithin { .. })]), "{actions:?}");
}

#[test]
fn a_stranger_may_send_less_than_a_guest() {
    let mut script = Script::new(Terms::default());
    assert_eq!(script.session.frame_bytes_max(), HELLO_BYTES_MAX);
    script.say(hello(1));
    assert_eq!(script.session.frame_bytes_max(), frame::FRAME_BYTES_MAX);
    let low = Script::new(Terms { frame_bytes_max: 5000, ..Terms::default() });
    assert_eq!(low.session.frame_bytes_max(), 5000);
}

#[test]
fn a_client_that_is_drained_is_told_goodbye_once() {
    let mut script = Script::open(3);
    script.take(&[1]);
    assert!(matches!(&script.stop()[..], [Action::Send(Kind::Goodbye(_))]));
    assert_eq!(script.say(hello(1)), [Action::Close], "a second hello");
    let mut script = Script::open(3);
    script.take(&[1]);
    script.ack(&[1]);
    script.stop();
    assert_eq!(script.durable(&[1], Err("disk gone".into())), [Action::Close]);
}
