use crossbeam::channel::bounded;

use super::*;
use crate::pipeline::lane::tests::{output, texts};
use crate::source::Gap;

/// One and the same instant in a test, however slow the machine.
fn now() -> Instant {
    static NOW: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    *NOW
}

fn forward(outputs: usize, candidates_max: usize) -> (Forward, crossbeam::channel::Receiver<LaneOutput>) {
    let (queue, model) = bounded(outputs);
    (Forward::new(queue, Arc::default(), candidates_max), model)
}

#[test]
fn a_post_to_our_handle_finds_room_where_mere_names_have_filled_theirs() {
    let (mut forward, model) = forward(8, 4);
    forward.send(output(0, &["lumio 1", "lumio 2", "lumio 3"]), now()).unwrap();
    forward.send(output(1, &["lumio 4", "@lumio 5"]), now()).unwrap();
    let seen: Vec<_> = model.try_iter().map(|output| texts(&output).join(", ")).collect();
    assert_eq!(seen, ["lumio 1, lumio 2", "@lumio 5"]);
}

#[test]
fn a_patient_source_is_never_shed_and_takes_no_room_from_live_ones() {
    let (mut forward, model) = forward(8, 2);
    let mut patient = output(0, &["lumio 1", "lumio 2", "lumio 3", "lumio 4"]);
    let places = Arc::new(tokio::sync::Semaphore::new(1));
    patient.patient_permit = places.clone().try_acquire_owned().ok();
    forward.send(patient, now()).unwrap();
    assert_eq!(forward.waiting.candidates(), 0);
    forward.send(output(0, &["@lumio 5"]), now()).unwrap();
    let seen: Vec<_> = model.try_iter().map(|output| texts(&output).join(", ")).collect();
    assert_eq!(seen, ["lumio 1, lumio 2, lumio 3, lumio 4", "@lumio 5"]);
    assert_eq!(places.available_permits(), 1, "the place is given back once the model has taken the batch");
}

#[test]
fn a_full_queue_holds_the_counts_and_hands_them_over_in_order() {
    let (mut forward, model) = forward(1, 100);
    for sequence in 0..4 {
        forward.send(output(sequence, &["nobody"]), now()).unwrap();
        forward.pass_on().unwrap();
    }
    let first = model.recv().unwrap();
    assert_eq!((first.first_sequence, first.end_sequence), (0, 1));
    forward.send(output(4, &["nobody"]), now()).unwrap();
    forward.pass_on().unwrap();
    let rest = model.recv().unwrap();
    assert_eq!((rest.first_sequence, rest.end_sequence), (1, 5));
    assert_eq!(rest.buckets.received(), 4 * 11);
    assert_eq!(forward.wait(now()), None);
}

#[test]
fn counts_alone_go_with_the_next_candidate() {
    let (mut forward, model) = forward(4, 100);
    forward.send(output(0, &["nobody"]), now()).unwrap();
    forward.send(output(1, &["nobody"]), now()).unwrap();
    assert_eq!(forward.wait(now()), Some(UNAWAITED_DELAY_MAX));
    assert_eq!(model.try_iter().count(), 0);
    forward.send(output(2, &["lumio"]), now()).unwrap();
    let joined = model.recv().unwrap();
    assert_eq!((joined.first_sequence, joined.end_sequence, joined.buckets.received()), (0, 3, 2 * 11 + 10));
    assert_eq!(forward.wait(now()), None);
}

#[test]
fn a_lane_that_ends_hands_over_what_it_holds() {
    let (mut forward, model) = forward(4, 100);
    forward.send(output(0, &["nobody"]), now()).unwrap();
    assert_eq!(model.try_iter().count(), 0, "counts alone wait");
    forward.flush().unwrap();
    assert_eq!(model.recv().unwrap().buckets.received(), 11);
}

#[test]
fn joined_outputs_have_the_holes_and_the_greatest_position_of_both() {
    let (mut forward, model) = forward(4, 100);
    for (sequence, position) in [(0, 20), (1, 10), (2, 30)] {
        let mut output = output(sequence, &["nobody"]);
        output.position = Some(position);
        output.gaps.push(Gap { from: position - 5, to: position, reason: "a test".to_owned() });
        forward.send(output, now()).unwrap();
    }
    forward.pass_on().unwrap();
    let joined = model.recv().unwrap();
    let gaps: Vec<_> = joined.gaps.iter().map(|gap| gap.to).collect();
    assert_eq!((joined.position, gaps), (Some(30), vec![20, 10, 30]));
}

#[test]
fn a_batch_that_another_lane_has_keeps_outputs_from_being_joined() {
    let (mut forward, model) = forward(4, 100);
    for _ in 0..4 {
        forward.send(output(9, &["nobody"]), now()).unwrap();
        forward.pass_on().unwrap();
    }
    // Batch 1 went to another lane, and the queue is full: both are held, and neither blocks this lane.
    forward.send(output(0, &["nobody"]), now()).unwrap();
    forward.send(output(2, &["nobody"]), now()).unwrap();
    forward.pass_on().unwrap();
    assert_eq!(forward.wait(now()), Some(HELD_RETRY));
    assert_eq!(model.try_iter().count(), 4);
    forward.pass_on().unwrap();
    let sequences: Vec<_> = model.try_iter().map(|output| output.first_sequence).collect();
    assert_eq!(sequences, [0, 2]);
}
