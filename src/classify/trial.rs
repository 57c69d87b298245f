//! What must hold of any post's text on its way to the models.

use super::language::Teller;
use super::ngrams::Ngrams;
use super::normalise::{Normaliser, TEXT_BYTES_MAX};

/// A text is normalised within its limit, once and for all; its language is told and its features are counted.
pub(crate) fn text(data: &[u8]) {
    thread_local! {
        static READERS: std::cell::RefCell<(Normaliser, Ngrams)> = std::cell::RefCell::new((
            Normaliser::default(),
            Ngrams::new(1 << 15, [2, 5]).expect("numbers that a model may have"),
        ));
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    READERS.with_borrow_mut(|(normaliser, ngrams)| {
        let normalised = normaliser.normalise(text).to_owned();
        // `@a` becomes `@user`, and a link `http`.
        assert!(normalised.len() <= TEXT_BYTES_MAX * 5, "{}", normalised.len());
        assert_eq!(normalised.trim(), normalised);
        assert!(!normalised.contains("  "), "{normalised:?}");
        Teller::default().tell(&normalised);
        let mut ids = Vec::new();
        ngrams.encode(&normalised, 1000, &mut ids);
        assert!((1..=1000).contains(&ids.len()) && ids.iter().all(|id| (1..=ngrams.last_id()).contains(id)));
    });
}
