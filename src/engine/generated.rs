//! Names for containers that were given none: a word for how it is, and one for what it is.

/// How it is.
const HOW: [&str; 64] = [
    "able", "airy", "amber", "apt", "azure", "bold", "brave", "brief", "bright", "brisk", "calm", "clear", "clever",
    "cosy", "crisp", "daring", "deft", "eager", "early", "easy", "fair", "fond", "frank", "fresh", "gentle", "glad",
    "golden", "grand", "hardy", "hazel", "honest", "jolly", "keen", "kind", "lively", "loyal", "lucid", "lucky",
    "mellow", "merry", "mild", "neat", "nimble", "noble", "patient", "plain", "polite", "proud", "quick", "quiet",
    "rapid", "ready", "rosy", "sharp", "silent", "sober", "steady", "sunny", "swift", "tidy", "true", "vivid", "warm",
    "wise",
];

/// What it is: what grows, and what flies or swims.
const WHAT: [&str; 64] = [
    "alder", "ash", "aspen", "badger", "beech", "birch", "bison", "bream", "cedar", "clover", "crane", "curlew",
    "daisy", "dipper", "elder", "elm", "fern", "finch", "fox", "gannet", "ginkgo", "grouse", "hare", "hawk",
    "hazelnut", "heron", "holly", "ibis", "iris", "ivy", "jay", "juniper", "kestrel", "larch", "lark", "lilac",
    "linden", "linnet", "lotus", "lynx", "maple", "marten", "moss", "myrtle", "oak", "olive", "osprey", "otter", "owl",
    "pine", "plover", "poplar", "puffin", "raven", "robin", "rowan", "sage", "seal", "sorrel", "swan", "tern",
    "thrush", "willow", "wren",
];

/// The name that belongs to an id or another random text of hexadecimal digits.
pub fn name(random: &str) -> String {
    let digits = random.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let (how, what) = (usize::from(digits >> 8) % HOW.len(), usize::from(digits & 0xff) % WHAT.len());
    format!("{}_{}", HOW[how], WHAT[what])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(name("0000"), "able_alder");
        assert_eq!(name("3f3fabc"), "wise_wren");
        assert_eq!(name("ffff"), "wise_wren");
        for words in [HOW, WHAT] {
            assert!(words.is_sorted() && words.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }
}
