//! Which paths of /proc and /sys are covered or read-only.

use super::defaults;
use super::options::Options;

/// `linux.maskedPaths`: docker's, less what `unmask` says, and those of `mask`.
pub fn masked(options: &Options) -> Vec<String> {
    let mut paths = left(&defaults::MASKED, options);
    for path in &options.security.mask {
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    paths
}

/// `linux.readonlyPaths`: docker's, less what `unmask` says.
pub fn readonly(options: &Options) -> Vec<String> {
    left(&defaults::READONLY, options)
}

fn left(paths: &[&str], options: &Options) -> Vec<String> {
    if options.privileged || options.security.unmask_all {
        return Vec::new();
    }
    let unmasked = |path: &str| options.security.unmask.iter().any(|pattern| matches(pattern, path));
    paths.iter().filter(|path| !unmasked(path)).map(|path| (*path).to_owned()).collect()
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => path == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_and_their_removal() {
        let mut options = Options::default();
        assert_eq!((masked(&options).len(), readonly(&options).len()), (12, 5));
        options.security.unmask = vec!["/proc/*".to_owned()];
        options.security.mask = vec!["/proc/keys".to_owned()];
        assert_eq!(masked(&options), ["/sys/devices/virtual/powercap", "/sys/firmware", "/proc/keys"]);
        assert!(readonly(&options).is_empty());
        options.privileged = true;
        assert_eq!(masked(&options), ["/proc/keys"]);
    }
}
