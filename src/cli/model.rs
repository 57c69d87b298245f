//! The arguments that choose a model and its runtime, the same in every command that classifies.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::classify::{self, Classifier, ModelChoice, RuntimeChoice};

#[derive(Debug, Args)]
pub(super) struct ModelArguments {
    /// `full`, `small`, or a folder with a model of your own (see models/README.md)
    #[arg(long, value_name = "full|small|FOLDER", default_value = "full", value_parser = model)]
    model: ModelChoice,
    /// What runs the model: onnxruntime where its library is found, else rten; or name one
    #[arg(long, value_name = "auto|rten|onnxruntime", default_value = "auto", value_parser = runtime)]
    runtime: RuntimeChoice,
    /// ONNX Runtime's shared library; found by itself in the usual places
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

impl ModelArguments {
    /// The model, ready to run.
    pub(super) fn open(&self) -> Result<Classifier, Failure> {
        let config = classify::Config {
            model: self.model.clone(),
            runtime: self.runtime,
            library: self.library.clone(),
            ..classify::Config::default()
        };
        Ok(Classifier::open(&config)?)
    }
}

/// A built-in model by its name, anything else as a folder; `./small` is a folder called small.
fn model(text: &str) -> Result<ModelChoice, String> {
    let embedded = ModelChoice::EMBEDDED.into_iter().find(|(name, _)| *name == text);
    match embedded {
        Some((_, choice)) => Ok(choice),
        None if PathBuf::from(text).is_dir() => Ok(ModelChoice::Folder(text.into())),
        None => Err("must be full, small, or a folder that is there".to_owned()),
    }
}

fn runtime(text: &str) -> Result<RuntimeChoice, String> {
    let choice = RuntimeChoice::ALL.into_iter().find(|(name, _)| *name == text);
    choice.map(|(_, choice)| choice).ok_or_else(|| {
        let names: Vec<_> = RuntimeChoice::ALL.iter().map(|(name, _)| *name).collect();
        format!("must be one of {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_a_name_or_a_folder() {
        assert_eq!(model("full"), Ok(ModelChoice::Full));
        assert_eq!(model("small"), Ok(ModelChoice::Small));
        assert_eq!(model("/"), Ok(ModelChoice::Folder("/".into())));
        assert_eq!(model("medium"), Err("must be full, small, or a folder that is there".to_owned()));
        assert_eq!(runtime("rten"), Ok(RuntimeChoice::Rten));
        assert_eq!(runtime("cuda"), Err("must be one of auto, rten, onnxruntime".to_owned()));
    }
}
