//! What the macros accept, and what they say about the rest.
//!
//! The messages are part of the framework: read each `.stderr` as its user would. What the compiler
//! says on its own is not here: it lists types of whatever crates happen to be compiled in.
//! `TRYBUILD=overwrite cargo test -p ensue --test ui` writes them anew.

#[test]
fn macros_teach() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
