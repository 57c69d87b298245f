//! rten: pure Rust, linked in, so that one binary works anywhere.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::Arc;

use ::rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, ValueOrView};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensorView, TensorView};

use super::{Batch, INPUTS, OUTPUTS, Outputs, Runtime, RuntimeError};

/// As shown to people; the version is the one in `Cargo.toml`.
const NAME: &str = "rten 0.27";

/// A loaded graph with the threads it runs on.
pub(super) struct Rten {
    model: Model,
    inputs: [NodeId; 2],
    outputs: [NodeId; 3],
    options: RunOptions,
    // rten has no `i64`: it takes `i32` where a graph says `i64`.
    ids: Vec<i32>,
    mask: Vec<i32>,
}

impl Rten {
    pub(super) fn open(bytes: Cow<'static, [u8]>, threads: NonZeroUsize) -> Result<Self, RuntimeError> {
        let mut options = ModelOptions::with_all_ops();
        options.prepack_weights(true);
        let model = match bytes {
            Cow::Borrowed(bytes) => options.load_static_slice(bytes),
            Cow::Owned(bytes) => options.load(bytes),
        }
        .map_err(|error| RuntimeError::Graph { runtime: NAME.into(), reason: error.to_string() })?;
        let input = |name: &str| {
            model.find_node(name).filter(|id| model.input_ids().contains(id)).ok_or_else(|| {
                RuntimeError::Graph { runtime: NAME.into(), reason: format!("there is no input {name}") }
            })
        };
        let output = |output: &'static str| {
            model
                .find_node(output)
                .filter(|id| model.output_ids().contains(id))
                .ok_or_else(|| RuntimeError::Output { output, reason: "the graph has no such output".into() })
        };
        let [ids, mask] = INPUTS;
        let [(sentiment, _), (intent, _), (urgency, _)] = OUTPUTS;
        Ok(Self {
            inputs: [input(ids)?, input(mask)?],
            outputs: [output(sentiment)?, output(intent)?, output(urgency)?],
            model,
            options: RunOptions::default()
                .with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(threads.get())))),
            ids: Vec::new(),
            mask: Vec::new(),
        })
    }
}

impl Runtime for Rten {
    fn name(&self) -> &str {
        NAME
    }

    fn run(&mut self, batch: &Batch) -> Result<Outputs, RuntimeError> {
        let failed = |reason: String| RuntimeError::Run { runtime: NAME.into(), reason };
        narrow(batch.ids(), &mut self.ids);
        narrow(batch.mask(), &mut self.mask);
        let shape = [batch.posts(), batch.tokens()];
        let [ids, mask] = self.inputs;
        let mut inputs: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(INPUTS.len());
        for (node, values) in [(ids, &self.ids), (mask, &self.mask)] {
            let view = NdTensorView::<i32, 2>::try_from_data(shape, values.as_slice())
                .map_err(|error| failed(error.to_string()))?;
            inputs.push((node, view.into()));
        }
        let values = self
            .model
            .run(inputs, &self.outputs, Some(self.options.clone()))
            .map_err(|error| failed(error.to_string()))?;
        let mut values = values.iter();
        Outputs::collect(batch.posts(), |_| {
            let value = values.next().ok_or("missing")?;
            let view: TensorView<'_, f32> = value.try_into().map_err(|_| "not of floats".to_owned())?;
            Ok((view.shape().to_vec(), view.to_vec()))
        })
    }
}

/// Token ids and masks fit: a vocabulary has less than 2³¹ pieces.
fn narrow(wide: &[i64], narrow: &mut Vec<i32>) {
    narrow.clear();
    narrow.extend(wide.iter().map(|&value| i32::try_from(value).unwrap_or(i32::MAX)));
}
