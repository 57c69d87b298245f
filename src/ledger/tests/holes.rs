//! Holes in the sources' streams, and what clients report.

use super::*;

#[test]
fn gaps_and_feedback_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let mut holed = settlement(1, 1, Vec::new());
    holed.gaps.push(Gap { from: 1, to: 5, reason: "the server forgot".to_owned() });
    running.settle(holed);
    let feedback = Feedback::Touchpoint(vec![1, 2, 3]);
    running.handle.feedback(feedback).blocking_recv().unwrap().unwrap();
    assert_eq!(running.stop().sources["bluesky"].gaps, 1);
    let file = Connection::open(config(folder.path()).path).unwrap();
    let kept: (String, Vec<u8>) =
        file.query_row("SELECT kind, body FROM feedback", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(kept, ("touchpoint".to_owned(), vec![1, 2, 3]));
}

#[test]
fn a_gap_is_filled_by_a_stretch_that_holds_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let gap = |from, to| Gap { from, to, reason: "test".to_owned() };
    let gaps = vec![gap(10, 20), gap(30, 50), gap(i64::MIN, i64::MAX)];
    running.settle(Settlement { gaps, ..settlement(1, 0, vec![]) });
    running.settle(Settlement { recovered: vec![(10, 20), (31, 60), (25, 49)], ..settlement(2, 0, vec![]) });
    let check = |accounting: &Accounting| {
        let account = &accounting.sources["bluesky"];
        assert_eq!((account.gaps, account.gaps_recovered, account.gap_length_recovered), (3, 1, 10.0));
        assert!(account.gap_length > 1e19, "{}", account.gap_length);
    };
    check(&running.stop());
    check(&Running::start(folder.path()).stop());
    let stored = Ledger::open(config(folder.path())).unwrap().stored("bluesky").unwrap();
    assert_eq!(stored, Stored { position: Some(2), open_gaps: vec![gap(30, 50), gap(i64::MIN, i64::MAX)] });
}

#[test]
fn holes_that_have_no_row_any_more_count_as_what_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(folder.path());
    let gaps = |from, to| (from..to).map(|from| Gap { from, to: from + 2, reason: String::new() }).collect();
    let first = Settlement { gaps: gaps(0, 10), recovered: vec![(3, 8)], ..settlement(1, 0, vec![]) };
    running.settle(first);
    running.settle(Settlement { gaps: gaps(10, gaps::GAPS_MAX + 5), ..settlement(2, 0, vec![]) });
    // What has no row cannot be filled any more, and is not counted as filled by this run either.
    running.settle(Settlement { recovered: vec![(0, 8)], ..settlement(3, 0, vec![]) });
    let before = running.stop();
    let file = Connection::open(config(folder.path()).path).unwrap();
    let first: i64 = file.query_row("SELECT min(from_position) FROM gap", [], |row| row.get(0)).unwrap();
    assert_eq!(first, 5, "the oldest rows are gone");
    let account = &before.sources["bluesky"];
    assert_eq!((account.gaps, account.gaps_recovered), (gaps::GAPS_MAX.cast_unsigned() + 5, 4));
    assert_eq!(account.gap_length_recovered, 8.0);
    drop(file);
    assert_eq!(Running::start(folder.path()).stop(), before, "no counter falls at a restart");
}
