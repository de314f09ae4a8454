#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = ensue_server::fuzzing::decode("http_join", bytes);
});
