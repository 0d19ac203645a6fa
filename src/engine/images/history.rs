//! How an image was made, step by step, as its configuration says.

use super::layer_sizes;
use crate::image::view::Image;
use crate::storage::store::Store;
use crate::time::Time;
use anyhow::Result;

/// One step.
#[derive(Debug)]
pub struct Step {
    /// When.
    pub created: Option<Time>,
    /// By which command.
    pub created_by: String,
    /// The bytes of the layer that it made; 0 if it made none.
    pub size: u64,
    /// A remark.
    pub comment: String,
}

/// The steps, the last one first.
pub fn history(store: &Store, image: &Image) -> Result<Vec<Step>> {
    let mut sizes = layer_sizes(store, image)?.into_iter();
    let mut steps = Vec::new();
    for step in image.config.history().iter().flatten() {
        let size = if step.empty_layer() == Some(true) { Some(0) } else { sizes.next() };
        steps.push(Step {
            created: step.created().as_deref().and_then(|text| Time::parse(text).ok()),
            created_by: step.created_by().clone().unwrap_or_default(),
            // A history that tells of more layers than there are.
            size: size.unwrap_or(0),
            comment: step.comment().clone().unwrap_or_default(),
        });
    }
    // Or of fewer.
    steps.extend(sizes.map(|size| Step { created: None, created_by: String::new(), size, comment: String::new() }));
    steps.reverse();
    Ok(steps)
}
