use jiff::Timestamp;

use super::bound::TEXT_BYTES_MAX;
use super::*;
use crate::prefilter;

fn prefilter() -> Prefilter {
    listening("handle OR name")
}

fn listening(listen: &str) -> Prefilter {
    let brand = prefilter::Brand {
        name: "Lumio".to_owned(),
        handles: vec!["@lumio".to_owned()],
        names: vec!["lumio".to_owned()],
        exclude: vec!["lumio lamp".to_owned()],
        listen: listen.to_owned(),
        ..prefilter::Brand::default()
    };
    let danger = vec!["pris feu".to_owned()];
    Prefilter::build(&prefilter::Config { brands: vec![brand], danger, ..prefilter::Config::default() })
        .unwrap()
}

fn batch(sequence: u64, texts: &[&str]) -> FrameBatch {
    let mut batch = FrameBatch {
        oversize: 1,
        unreadable: 2,
        heartbeats: 3,
        duplicates: 4,
        recovered: vec![(1, 2)],
        position: Some(7),
        ..FrameBatch::empty(Arc::from("file"), Format::Plain, sequence)
    };
    for (id, text) in texts.iter().enumerate() {
        let frame = serde_json::json!({ "id": format!("{sequence}.{id}"), "author": "a", "text": text });
        batch.push(frame.to_string().as_bytes());
    }
    batch
}

pub(super) fn output(sequence: u64, texts: &[&str]) -> LaneOutput {
    Lane::default().process(&prefilter(), batch(sequence, texts))
}

pub(super) fn texts(output: &LaneOutput) -> Vec<&str> {
    output.candidates().map(|candidate| &*candidate.post.text).collect()
}

#[test]
fn every_frame_of_a_batch_is_counted_or_handed_on() {
    let output = output(0, &["lumio a", "nobody", "@lumio b"]);
    assert_eq!(texts(&output), ["lumio a", "@lumio b"]);
    let buckets = &output.buckets;
    assert_eq!((buckets[Bucket::Oversize], buckets[Bucket::Malformed], buckets[Bucket::Control]), (1, 2, 3));
    assert_eq!((buckets[Bucket::Duplicate], &*output.recovered), (4, &[(1, 2)][..]));
    assert_eq!((buckets[Bucket::Unmatched], buckets.received()), (1, 11));
    assert_eq!(output.position, Some(7));
}

#[test]
fn what_is_passed_over_early_is_what_a_whole_reading_leaves_unmatched() {
    let post = |did: &str, operation: &str, text: &str| {
        format!(
            r#"{{"did":"{did}","time_us":5,"kind":"commit","commit":{{"operation":"{operation}","collection":"app.bsky.feed.post","rkey":"1","record":{{"text":"{text}","tags":["{text}"]}}}}}}"#
        )
    };
    let mut batch = batch(0, &[]);
    batch.format = Format::Jetstream;
    for frame in [
        post("did:plc:a", "create", "nobody"),
        post("did:plc:a", "create", "@lumio"),
        post("lumio", "create", "nobody"),
        post("did:plc:a", "update", "nobody"),
        post("did:plc:a", "delete", "nobody"),
        post("did:plc:a", "create", "nobody").replace("rkey", "key"),
    ] {
        batch.push(frame.as_bytes());
    }
    let output = Lane::default().process(&prefilter(), batch);
    let buckets = &output.buckets;
    // Beside what the batch itself counts.
    assert_eq!((buckets[Bucket::Unmatched], buckets[Bucket::Own]), (1, 1));
    assert_eq!((buckets[Bucket::Malformed], buckets[Bucket::Control]), (2 + 1, 3));
    let [Item::Candidate(_), Item::Edited { text, .. }, Item::PostDeleted { .. }] = &output.items[..] else {
        panic!("{:?}", output.items);
    };
    assert_eq!(text, "nobody");
}

#[test]
fn what_only_names_the_brand_is_handed_on_where_its_author_is_in_a_conversation() {
    let line = |author: &str, text: &str| {
        serde_json::json!({ "id": format!("{author} {text}"), "author": author, "text": text }).to_string()
    };
    let mut batch = FrameBatch::empty(Arc::from("file"), Format::Plain, 0);
    for frame in [
        line("dan", "lumio, vous m'avez oublié"),
        line("ana", "lumio en panne"),
        line("ana", "lumio, vous m'avez oublié"),
        line("ana", "vous m'avez oublié"),
        line("ana", "my lumio lamp"),
    ] {
        batch.push(frame.as_bytes());
    }
    let output = Lane::watching(Arc::default()).process(&listening(prefilter::LISTEN_DEFAULT), batch);
    let [Item::Candidate(_), Item::Reply(named)] = &output.items[..] else { panic!("{:?}", output.items) };
    assert_eq!((&*named.post.author.id, &*named.brand, named.is_only_named()), ("ana", "Lumio", true));
    assert_eq!(output.buckets[Bucket::Unmatched], 3);
}

#[test]
fn all_brands_that_a_post_only_names_are_handed_on() {
    let brand = |name: &str, handle: &str| prefilter::Brand {
        name: name.into(),
        handles: vec![handle.into()],
        ..prefilter::Brand::default()
    };
    let brands = vec![
        brand("Lumio", "@lumio"),
        brand("Another", "@another"),
        brand("Lumio Mobile", "@lumiomobile"),
        prefilter::Brand { listen: "handle".into(), ..brand("Mobile", "@mobile") },
    ];
    let config = prefilter::Config { brands, ..prefilter::Config::default() };
    let mut batch = FrameBatch::empty(Arc::from("file"), Format::Plain, 0);
    for text in ["@lumiomobile en panne", "lumio mobile, vous m'avez oublié"] {
        let line = serde_json::json!({ "id": text, "author": "ana", "text": text });
        batch.push(line.to_string().as_bytes());
    }
    let output = Lane::watching(Arc::default()).process(&Prefilter::build(&config).unwrap(), batch);
    let [Item::Candidate(_), Item::Reply(named)] = &output.items[..] else { panic!("{:?}", output.items) };
    let brands: Vec<&str> =
        [&named.brand].into_iter().chain(&named.also_named).map(|brand| &**brand).collect();
    assert_eq!(brands, ["Lumio", "Lumio Mobile"], "one whose `listen` asks for no name is not looked for");
}

/// However a reply is read: in full, or passed over early where nothing is watched.
#[test]
fn what_is_said_in_a_thread_is_handed_on_by_whoever_says_it() {
    let post = |did: &str, rkey: &str, parent: &str, text: &str| {
        let parent = format!("at://did:plc:{parent}");
        let reply = serde_json::json!({ "parent": { "uri": parent } });
        serde_json::json!({
            "did": did, "time_us": 5, "kind": "commit",
            "commit": {
                "operation": "create", "collection": "app.bsky.feed.post", "rkey": rkey,
                "record": { "text": text, "reply": reply },
            },
        })
        .to_string()
    };
    let first = "ana/app.bsky.feed.post/1";
    let mut batch = batch(0, &[]);
    batch.format = Format::Jetstream;
    for frame in [
        post("did:plc:ana", "1", "nobody", "@lumio panne"),
        post("did:plc:ana", "2", first, "toujours rien"),
        post("did:plc:bob", "3", first, "essaie de redémarrer"),
        post("lumio", "4", first, "bonjour"),
        post("did:plc:ana", "5", "bob/app.bsky.feed.post/3", "merci"),
        post("did:plc:ana", "6", "nobody", "toujours rien"),
        post("lumio", "7", "nobody", "bonjour"),
        post("did:plc:cy", "8", first, "la mienne a pris feu"),
        post("did:plc:cy", "9", "nobody", "la mienne a pris feu"),
    ] {
        batch.push(frame.as_bytes());
    }
    let mut lane = Lane::watching(Arc::default());
    let output = lane.process(&prefilter(), batch);
    let [
        Item::Candidate(_),
        Item::Reply(own),
        Item::Overheard(said),
        Item::Answer(answer),
        Item::Reply(thanks),
        Item::Reply(danger),
    ] = &output.items[..]
    else {
        panic!("{:?}", output.items);
    };
    assert_eq!((&*own.post.text, own.is_of_thread(), &*thanks.post.text), ("toujours rien", true, "merci"));
    assert_eq!((&*said.text, &*said.author.id, &*answer.author.id), ("", "did:plc:bob", "lumio"));
    assert_eq!(&*danger.post.author.id, "did:plc:cy", "whomever they speak to");
    assert_eq!(output.candidates().count(), 4, "what the model reads");
    assert_eq!((output.buckets[Bucket::Unmatched], output.buckets[Bucket::Own]), (2, 1));
}

/// A frame in which `ana` makes a post, or changes it.
fn commit(operation: &str, rkey: &str, text: &str) -> String {
    let record = serde_json::json!({ "text": text });
    let commit = serde_json::json!({
        "operation": operation, "collection": "app.bsky.feed.post", "rkey": rkey, "record": record,
    });
    serde_json::json!({ "did": "did:plc:ana", "time_us": 5, "kind": "commit", "commit": commit }).to_string()
}

/// Whoever speaks of a fire no longer says whose box it was.
#[test]
fn an_edit_that_names_the_brand_no_more_is_read_where_its_post_may_have_a_ticket() {
    let mut batch = batch(0, &[]);
    batch.format = Format::Jetstream;
    for frame in [
        commit("create", "1", "@lumio panne"),
        commit("create", "2", "nobody"),
        commit("update", "1", "it has caught fire"),
        commit("update", "2", "it has caught fire, too"),
    ] {
        batch.push(frame.as_bytes());
    }
    let mut output = Lane::watching(Arc::default()).process(&prefilter(), batch);
    let [Item::Candidate(_), Item::Reply(read), Item::Edited { .. }] = &output.items[..] else {
        panic!("{:?}", output.items);
    };
    assert!(read.is_edit_of_thread() && read.post.text == "it has caught fire", "{read:?}");
    // Where there is no time to read it, it is shown.
    output.shed(5, 10);
    let [Item::Candidate(_), Item::Edited { text, otherwise, .. }, Item::Edited { .. }] = &output.items[..]
    else {
        panic!("{:?}", output.items);
    };
    assert_eq!((text.as_str(), *otherwise), ("it has caught fire", Bucket::Unmatched));
    assert_eq!(output.buckets[Bucket::Shed], 0);
}

/// The frame never comes again: ledger and helpdesk would keep the number.
#[test]
fn an_edit_that_still_names_the_brand_is_shown_where_there_is_no_time_to_read_it() {
    let mut batch = FrameBatch::empty(Arc::from("jetstream"), Format::Jetstream, 0);
    batch.push(commit("create", "1", "@lumio my number is 06").as_bytes());
    batch.push(commit("update", "1", "@lumio call me").as_bytes());
    let mut output = Lane::watching(Arc::default()).process(&prefilter(), batch);
    assert_eq!(output.candidates().count(), 2);
    output.shed(10, 10);
    let [Item::Edited { id, text, otherwise, .. }] = &output.items[..] else { panic!("{:?}", output.items) };
    assert_eq!((id.as_str(), text.as_str()), ("at://did:plc:ana/app.bsky.feed.post/1", "@lumio call me"));
    // The first is counted already, the other where it ends.
    assert_eq!((output.buckets[Bucket::Shed], *otherwise), (1, Bucket::Shed));
}

#[test]
fn the_least_valuable_are_shed_and_the_order_of_the_rest_is_kept() {
    let check = |waiting: usize, expected: &[&str]| {
        let mut output = output(0, &["lumio 1", "@lumio 2", "lumio 3", "@lumio 4"]);
        output.shed(waiting, 10);
        assert_eq!(texts(&output), expected, "beside {waiting}");
        assert_eq!(output.buckets[Bucket::Shed], 4 - expected.len() as u64);
    };
    check(0, &["lumio 1", "@lumio 2", "lumio 3", "@lumio 4"]);
    check(1, &["lumio 1", "@lumio 2", "lumio 3", "@lumio 4"]);
    check(2, &["lumio 1", "@lumio 2", "@lumio 4"]);
    check(5, &["@lumio 2", "@lumio 4"]);
    check(9, &["@lumio 2"]);
    check(10, &[]);
}

#[test]
fn a_candidate_is_cut_to_what_a_ticket_may_hold() {
    let long = format!("@lumio {}", "é".repeat(100_000));
    let output = output(0, &[&long]);
    let post = &output.candidates().next().unwrap().post;
    assert!(post.text.len() <= TEXT_BYTES_MAX && post.text.len() > TEXT_BYTES_MAX - 2);

    let frame = serde_json::json!({ "id": "x".repeat(2000), "author": "a", "text": "@lumio" }).to_string();
    let mut batch = batch(0, &[]);
    batch.frames.push(0..frame.len());
    batch.bytes = frame.into_bytes();
    let output = Lane::default().process(&prefilter(), batch);
    assert_eq!((output.items.len(), output.buckets[Bucket::Malformed]), (0, 3));
}

#[test]
fn a_position_is_never_later_than_our_clock() {
    let event = |time_us: i64| format!(r#"{{"did":"did:plc:a","time_us":{time_us},"kind":"identity"}}"#);
    let mut batch = batch(0, &[]);
    batch.format = Format::Jetstream;
    batch.position = None;
    batch.received_at = Timestamp::from_second(60).unwrap();
    for time_us in [5_000_000, i64::MAX, 70_000_000] {
        let start = batch.bytes.len();
        batch.bytes.extend_from_slice(event(time_us).as_bytes());
        batch.frames.push(start..batch.bytes.len());
    }
    assert_eq!(Lane::default().process(&prefilter(), batch).position, Some(60_000_000));
}

#[test]
fn a_line_number_is_not_mistaken_for_the_time_that_the_line_tells() {
    let mut batch = batch(0, &[]);
    batch.format = Format::Jetstream;
    batch.received_at = Timestamp::from_second(60).unwrap();
    batch.push(br#"{"did":"did:plc:a","time_us":5000000,"kind":"identity"}"#);
    assert_eq!(Lane::default().process(&prefilter(), batch).position, Some(7));
}
