//! Whether figures are asked for, or only whether the answers are right: told apart as criterion does.

/// `cargo bench` says `--bench`; `cargo test --bench` says nothing, and `cargo bench -- --test` says both.
pub(crate) fn measures() -> bool {
    let said = |flag: &str| std::env::args().any(|argument| argument == flag);
    said("--bench") && !said("--test")
}
