//! The bundle that every binary carries, so that it can classify with nothing beside it.

/// The description, `model.json`.
pub(super) const DESCRIPTION: &[u8] = include_bytes!("../../models/model.json");
/// The graph and its weights.
pub(super) const MODEL: &[u8] = include_bytes!("../../models/full.onnx");
/// The tokeniser.
pub(super) const TOKENISER: &[u8] = include_bytes!("../../models/tokenizer.json");
