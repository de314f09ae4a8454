//! Tells a test how it was compiled, so that it can compile more against the same crates.
//!
//! Cargo tells where it puts the crates that it builds to the compiler alone, and a macro runs
//! inside the compiler.

use proc_macro::TokenStream;

/// The compiler's options that say where crates are.
const OPTIONS: [&str; 2] = ["--extern", "-L"];

/// The compiler and where the crates are that it was told to use: a `(&str, &[&str])`, a program and
/// its arguments.
#[proc_macro]
pub fn compiled_with(_: TokenStream) -> TokenStream {
    let compiler = std::env::current_exe().map(|path| format!("{:?}", path.to_string_lossy()));
    let arguments: Vec<_> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let expression = match compiler {
        Ok(compiler) => format!("({compiler}, &{:?})", places(&arguments)),
        Err(error) => format!("compile_error!({:?})", error.to_string()),
    };
    let expression = expression.parse();
    expression.unwrap_or_else(|error: proc_macro::LexError| {
        let told = format!("compile_error!({:?})", error.to_string());
        told.parse().unwrap_or_default()
    })
}

/// The options with their values, whether those are the next argument or part of the same one.
fn places(arguments: &[String]) -> Vec<&str> {
    let mut places = Vec::new();
    let mut is_value = false;
    for argument in arguments {
        let is_option = OPTIONS.iter().any(|option| argument.starts_with(option));
        if is_value || is_option {
            places.push(argument.as_str());
        }
        is_value = !is_value && OPTIONS.contains(&argument.as_str());
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_crates_are_kept_and_nothing_else() {
        let arguments = "rustc --test a.rs -L dependency=/deps -C opt-level=1 --extern serde=/deps/s \
                         -Lnative=/n --extern=proc_macro --edition 2024";
        let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
        let kept = places(&arguments).join(" ");
        assert_eq!(
            kept,
            "-L dependency=/deps --extern serde=/deps/s -Lnative=/n --extern=proc_macro"
        );
    }
}
