#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(expression) = ensue_cesql::Expression::parse(text) else {
        return;
    };
    let event = [
        ("id", "e-1".into()),
        ("hop", 5.into()),
        ("flag", true.into()),
    ];
    let evaluation = expression.evaluate(&event);
    let written = expression.to_string();
    if written.len() <= ensue_cesql::EXPRESSION_BYTES_MAX {
        let again =
            ensue_cesql::Expression::parse(&written).expect("what is written can be parsed");
        assert_eq!(again, expression);
        assert_eq!(again.evaluate(&event), evaluation);
    }
});
