//! Candidates → [`Verdict`]s: sentiment, intent and urgency, each with probabilities.
//!
//! The only door to the ONNX runtimes is `classify/runtime/`.

/// Class probabilities of one post. Each array sums to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// In the order of [`SENTIMENTS`].
    pub sentiment: [f32; 3],
    /// In the order of [`INTENTS`].
    pub intent: [f32; 8],
    /// In the order of [`URGENCIES`].
    pub urgency: [f32; 3],
}

/// Sentiment labels.
pub const SENTIMENTS: [&str; 3] = ["negative", "neutral", "positive"];
/// Intent labels; `other` is no customer message.
pub const INTENTS: [&str; 8] =
    ["churn", "problem", "help", "feature", "question", "complaint", "praise", "other"];
/// Urgency labels.
pub const URGENCIES: [&str; 3] = ["low", "normal", "high"];
