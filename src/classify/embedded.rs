//! The bundles that every binary carries, so that it can classify with nothing beside it.

/// One bundle's files.
pub(super) struct Embedded {
    /// The description, `model.json`.
    pub(super) description: &'static [u8],
    /// The graph and its weights.
    pub(super) model: &'static [u8],
    /// The tokeniser, where the bundle has one.
    pub(super) tokeniser: Option<&'static [u8]>,
}

/// The model that knows best.
pub(super) const FULL: Embedded = Embedded {
    description: include_bytes!("../../models/full/model.json"),
    model: include_bytes!("../../models/full/model.onnx"),
    tokeniser: Some(include_bytes!("../../models/full/tokenizer.json")),
};

/// The model that is fast.
pub(super) const SMALL: Embedded = Embedded {
    description: include_bytes!("../../models/small/model.json"),
    model: include_bytes!("../../models/small/model.onnx"),
    tokeniser: None,
};
