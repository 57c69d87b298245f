//! What a bridge has written is there after it ends, however it ends.

use super::*;
use crate::parse::Network;

fn id(post: &str) -> TicketId {
    TicketId::of_post(Network::X, post)
}

fn open(path: &Path) -> Cases {
    Cases::open(path, 7).unwrap()
}

fn place(id: &str, origin: Origin) -> Place {
    Place { id: id.to_owned(), captured: "{}".to_owned(), origin, is_complete: true, is_gone: false }
}

fn placed(id: &str) -> Change {
    Change::Placed {
        brand: "Lumio".to_owned(),
        level: 1,
        language: "fr".to_owned(),
        place: place(id, Origin::Made),
        others: 0,
    }
}

#[test]
fn what_was_applied_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge-rt.sqlite");
    let attempted = Change::Attempted { brand: "Lumio".to_owned(), level: 2, language: "en".to_owned() };
    {
        let mut cases = open(&path);
        cases.apply(id("1"), std::slice::from_ref(&attempted), 10).unwrap();
        cases.apply(id("1"), &[Change::Unclear], 11).unwrap();
        let note = Note { seq: 9, post_id: "p".to_owned(), captured: r#"{"note":4}"#.to_owned() };
        cases.apply(id("2"), &[attempted, placed("17"), Change::Noted(note)], 12).unwrap();
        cases.apply(id("2"), &[Change::Done { seq: 9, level: 3 }, Change::Refused { seq: 11 }], 13).unwrap();
        cases.apply(id("2"), &[Change::Refused { seq: 11 }], 14).unwrap();
        cases.set_cursor("2026-11-02").unwrap();
        assert_eq!(cases.knows_since_us(), 7);
    }
    let cases = Cases::open(&path, 99).unwrap();
    assert_eq!(cases.knows_since_us(), 7, "the file is older than this start");
    let first = cases.get(id("1")).unwrap().unwrap();
    assert_eq!((first.attempted_at_us, first.is_unclear, first.place), (Some(11), true, None));
    let second = cases.get(id("2")).unwrap().unwrap();
    assert_eq!((second.attempted_at_us, second.done_seq, second.level), (None, 9, 3));
    assert_eq!((first.language.as_str(), second.language.as_str()), ("en", "fr"));
    assert_eq!((second.refused, second.notes.len()), ((11, 2), 1));
    assert_eq!(second.place, Some(place("17", Origin::Made)));
    assert_eq!(cases.get(id("3")).unwrap(), None);
    assert_eq!(cases.of_case("17").unwrap(), [id("2")]);
    assert_eq!(cases.cursor().unwrap().as_deref(), Some("2026-11-02"));
}

#[test]
fn a_file_of_version_1_is_brought_to_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let old = Connection::open(&path).unwrap();
    old.execute_batch(VERSION_1).unwrap();
    let sql =
        "INSERT INTO entry (ticket_id, brand, level, case_id, touched_at_us) VALUES (?1, '', 1, '17', 1)";
    old.execute(sql, [id("1").as_bytes()]).unwrap();
    old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    drop(old);
    let mut cases = open(&path);
    assert_eq!((cases.of_case("17").unwrap(), cases.unerased().unwrap()), (vec![id("1")], 0));
    cases.apply(id("1"), &[Change::TextStays { seq: 3 }], 2).unwrap();
    drop(cases);
    let mut cases = open(&path);
    assert_eq!(cases.unerased().unwrap(), 1);
    cases.apply(id("1"), &[Change::TakenOut { seq: 3, case_id: "17".to_owned() }], 3).unwrap();
    drop(cases);
    assert_eq!(open(&path).get(id("1")).unwrap().unwrap().taken_out, [(3, "17".to_owned())]);
}

#[test]
fn it_is_known_since_when_a_ticket_is_there_and_what_it_was_merged_into() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = open(&folder.path().join("c"));
    let attempted = Change::Attempted { brand: "Lumio".to_owned(), level: 2, language: "en".to_owned() };
    let Change::Placed { brand, language, .. } = placed("1") else { panic!() };
    let place = place("3", Origin::Found);
    let found = Change::Placed { brand, level: 1, language, place, others: 0 };
    cases.apply(id("1"), &[placed("1")], 20).unwrap();
    cases.apply(id("2"), &[attempted], 10).unwrap();
    cases.apply(id("2"), &[placed("2")], 20).unwrap();
    cases.apply(id("3"), std::slice::from_ref(&found), 20).unwrap();
    // Seen again, an hour later.
    cases.apply(id("1"), &[found], 3_600_000_000).unwrap();
    let made = ["1", "2", "3"].map(|post| cases.get(id(post)).unwrap().unwrap().made_at_us);
    assert_eq!(made, [Some(20), Some(10), None]);
    let merged = |cases: &Cases| {
        let entry = cases.get(id("2")).unwrap().unwrap();
        (entry.is_merged, entry.stood_there)
    };
    assert_eq!(merged(&cases), (false, Vec::new()));
    cases.apply(id("2"), &[Change::Moved { id: "7".to_owned() }, Change::StoodThere(vec![1])], 30).unwrap();
    assert_eq!(merged(&cases), (true, vec![1]));
    cases.apply(id("2"), &[Change::Moved { id: "8".to_owned() }], 40).unwrap();
    assert_eq!(merged(&cases), (true, Vec::new()), "that one was not read yet");
}

#[test]
fn a_text_that_stays_is_counted_until_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = open(&folder.path().join("c"));
    let stays = |seq| Change::TextStays { seq };
    let done = |seq| Change::Done { seq, level: 1 };
    let mut check = |post: &str, changes: &[Change], expected| {
        cases.apply(id(post), changes, 1).unwrap();
        assert_eq!(cases.unerased().unwrap(), expected, "{changes:?}");
    };
    check("never made", &[stays(1)], 0);
    check("1", &[placed("1"), stays(2), stays(3)], 1);
    check("1", &[done(2)], 1);
    check("1", &[done(4)], 1);
    check("1", &[done(3)], 0);
    check("1", &[done(5), stays(5)], 1);
    check("2", &[placed("2"), done(6), stays(6)], 2);
    check("2", &[Change::Gone], 1);
    check("2", &[Change::Back], 2);
    check("2", &[Change::Erased], 1);
    check("1", &[Change::Read { again_at_us: None }], 1);
    assert_eq!(cases.prune(9, false, 9).unwrap(), 2);
    let rows: i64 =
        cases.connection.query_row("SELECT count(*) FROM unerased", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 0);
}

#[test]
fn what_an_erasure_has_done_is_remembered_until_all_of_it_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = open(&folder.path().join("c"));
    let taken_out = |seq, case: &str| Change::TakenOut { seq, case_id: case.to_owned() };
    let known = |cases: &Cases| cases.get(id("1")).unwrap().unwrap().taken_out;
    let twice = [placed("1"), taken_out(2, "1"), taken_out(2, "9"), taken_out(2, "9"), taken_out(3, "1")];
    cases.apply(id("1"), &twice, 1).unwrap();
    assert_eq!(known(&cases), [(2, "1"), (2, "9"), (3, "1")].map(|(seq, case)| (seq, case.to_owned())));
    cases.apply(id("1"), &[Change::Done { seq: 2, level: 1 }], 1).unwrap();
    assert_eq!(known(&cases), [(3, "1".to_owned())]);
    assert_eq!(cases.prune(9, false, 9).unwrap(), 1);
    let left: i64 =
        cases.connection.query_row("SELECT count(*) FROM taken_out", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn notes_are_forgotten_by_the_post_whose_text_they_held() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = open(&folder.path().join("c"));
    let note =
        |seq, post: &str| Change::Noted(Note { seq, post_id: post.to_owned(), captured: "{}".to_owned() });
    cases.apply(id("1"), &[placed("1"), note(1, "a"), note(2, "b"), note(3, "a"), note(4, "")], 1).unwrap();
    let left = |cases: &Cases| -> Vec<u64> {
        cases.get(id("1")).unwrap().unwrap().notes.iter().map(|note| note.seq).collect()
    };
    cases.apply(id("1"), &[Change::NotesErased(Some("a".to_owned()))], 2).unwrap();
    assert_eq!(left(&cases), [2, 4]);
    cases.apply(id("1"), &[Change::NotesErased(None), Change::Erased], 3).unwrap();
    assert_eq!(left(&cases), [0_u64; 0]);
    assert!(cases.get(id("1")).unwrap().unwrap().is_erased);
}

#[test]
fn those_that_are_due_for_longest_come_first_and_what_has_ended_does_not_come() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = open(&folder.path().join("c"));
    for (post, again_at) in [("1", 30), ("2", 10), ("3", 20), ("4", 41)] {
        let again_at_us = (post != "3").then_some(again_at);
        cases.apply(id(post), &[placed(post), Change::Read { again_at_us }], again_at).unwrap();
    }
    cases
        .apply(id("5"), &[Change::Attempted { brand: String::new(), level: 1, language: "en".to_owned() }], 1)
        .unwrap();
    assert_eq!(cases.due(40, 9).unwrap(), [id("2"), id("1")]);
    assert_eq!(cases.due(99, 1).unwrap(), [id("2")]);
}

#[test]
fn what_is_over_is_forgotten_oldest_first_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let mut cases = open(&path);
    let attempted = || Change::Attempted { brand: String::new(), level: 1, language: "en".to_owned() };
    let ended = || Change::Read { again_at_us: None };
    let note = Change::Noted(Note { seq: 1, post_id: String::new(), captured: "{}".to_owned() });
    cases.apply(id("ended"), &[placed("1"), note, ended()], 20).unwrap();
    cases.apply(id("ended later"), &[placed("2"), ended()], 21).unwrap();
    cases.apply(id("ended last"), &[placed("3"), ended()], 40).unwrap();
    cases.apply(id("gone"), &[placed("4"), Change::Gone], 22).unwrap();
    cases.apply(id("open"), &[placed("5"), Change::Erased], 10).unwrap();
    cases.apply(id("perhaps"), &[attempted(), Change::Unclear], 10).unwrap();
    cases.apply(id("under way"), &[attempted()], 10).unwrap();
    cases.apply(id("refused"), &[attempted(), Change::Withdrawn, Change::Refused { seq: 1 }], 23).unwrap();
    assert_eq!((cases.prune(20, true, 9).unwrap(), cases.knows_since_us()), (0, 7));
    assert_eq!(cases.prune(30, true, 2).unwrap(), 2);
    let is_known = |cases: &Cases, post: &str| cases.get(id(post)).unwrap().is_some();
    assert!(!is_known(&cases, "ended") && !is_known(&cases, "ended later") && is_known(&cases, "gone"));
    assert_eq!((cases.prune(30, true, 9).unwrap(), cases.prune(30, true, 9).unwrap()), (2, 0));
    for kept in ["ended last", "open", "perhaps", "under way"] {
        assert!(is_known(&cases, kept), "{kept}");
    }
    let notes: i64 = cases.connection.query_row("SELECT count(*) FROM note", [], |row| row.get(0)).unwrap();
    assert_eq!((notes, cases.knows_since_us()), (0, 30));
    // Who never hears of an end forgets what is old.
    assert_eq!(cases.prune(30, false, 9).unwrap(), 1);
    assert!(!is_known(&cases, "open") && is_known(&cases, "perhaps"));
    drop(cases);
    assert_eq!(open(&path).knows_since_us(), 30);
}

#[test]
fn one_at_a_time_uses_it_and_another_programs_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let cases = open(&path);
    assert!(matches!(Cases::open(&path, 1), Err(LedgerError::InUse(_))));
    drop(cases);
    let foreign = folder.path().join("foreign");
    Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
    assert!(matches!(Cases::open(&foreign, 1), Err(LedgerError::Foreign(_))));
    let newer = folder.path().join("newer");
    drop(open(&newer));
    Connection::open(&newer).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
    assert!(matches!(Cases::open(&newer, 1), Err(LedgerError::Newer { .. })));
}

/// A commit that fails: the file may hold it or not, and nobody asks it again.
#[test]
fn after_a_failed_commit_nothing_is_written_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let mut cases = open(&path);
    cases.apply(id("1"), &[placed("1")], 1).unwrap();
    cases.connection.execute_batch("PRAGMA query_only = 1").unwrap();
    assert!(cases.apply(id("2"), &[placed("2")], 1).is_err(), "the fault fires");
    cases.connection.execute_batch("PRAGMA query_only = 0").unwrap();
    assert!(cases.apply(id("2"), &[placed("2")], 1).is_err());
    assert!(cases.set_cursor("x").is_err());
    drop(cases);
    let mut cases = open(&path);
    assert_eq!(cases.get(id("2")).unwrap(), None);
    cases.apply(id("2"), &[placed("2")], 1).unwrap();
}
