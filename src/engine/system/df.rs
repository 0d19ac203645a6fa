//! `system df`: how much space is used, and how much of it could be freed.

use crate::engine::images::{self, list};
use crate::engine::{container, volumes};
use crate::storage::store::Store;
use crate::storage::usage;
use anyhow::Result;
use std::collections::HashSet;

/// One kind of thing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Usage {
    /// How many.
    pub total: u64,
    /// How many of them are in use.
    pub active: u64,
    /// Bytes.
    pub size: u64,
    /// Bytes of those that are not in use.
    pub reclaimable: u64,
}

/// All kinds.
#[derive(Debug, Default, Clone, Copy)]
pub struct Report {
    /// Images: their files, each layer counted once, and their blobs.
    pub images: Usage,
    /// What containers have changed.
    pub containers: Usage,
    /// Volumes.
    pub volumes: Usage,
}

/// Counts.
pub fn df(store: &Store) -> Result<Report> {
    let mut report = Report::default();
    let containers = container::all()?.found;
    let used: HashSet<_> =
        containers.iter().filter_map(|one| one.container.image.as_ref().map(|image| &image.manifest)).collect();
    // Those in use first: what they share with others cannot be freed.
    let mut listed = list::list(store)?.images;
    listed.sort_by_key(|listed| !used.contains(&listed.image.descriptor.digest));
    let mut seen = HashSet::new();
    for listed in &listed {
        let image = &listed.image;
        let is_used = used.contains(&image.descriptor.digest);
        let mut size = 0;
        let sizes = images::layer_sizes(store, image)?;
        for (layer, unpacked) in image.manifest.layers.iter().zip(sizes) {
            if seen.insert(layer.digest.clone()) {
                size += layer.size + unpacked;
            }
        }
        report.images.add(is_used, size);
    }
    for found in &containers {
        let size = match usage::of_tree(&found.dir, found.container.maps.clone()) {
            // It has ended meanwhile.
            Err(_) if !found.dir.exists() => continue,
            size => size?,
        };
        report.containers.add(found.live, size);
    }
    for volume in volumes::list()? {
        let size = match usage::of_tree(&volume.mountpoint(), images::default_maps()?) {
            Err(_) if !volume.mountpoint().exists() => continue,
            size => size?,
        };
        report.volumes.add(!volume.is_dangling()?, size);
    }
    Ok(report)
}

impl Usage {
    fn add(&mut self, active: bool, size: u64) {
        self.total += 1;
        self.active += u64::from(active);
        self.size += size;
        self.reclaimable += if active { 0 } else { size };
    }
}
