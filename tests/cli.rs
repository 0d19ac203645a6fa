//! What the terminal shows: help and errors, word for word. `TRYCMD=overwrite` rewrites the expectations.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod env;

#[test]
fn shown_text() {
    trycmd::TestCases::new().register_bin("rbox", env::program("rbox")).case("tests/cli/*.md").run();
}
