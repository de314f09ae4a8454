//! Which events a handler's return type says will follow.

use syn::{GenericArgument, PathArguments, ReturnType, Type};

/// The types in `output` that may be events: what is inside `Result`, `Option`, `Vec`, tuples and
/// so on. An alias of something else looks the same here; it is told apart when the code compiles.
pub(crate) fn collect(output: &ReturnType) -> Vec<&Type> {
    let mut events = Vec::new();
    if let ReturnType::Type(_, output) = output {
        visit(output, &mut events);
    }
    events
}

fn visit<'a>(output: &'a Type, events: &mut Vec<&'a Type>) {
    match output {
        Type::Array(array) => visit(&array.elem, events),
        Type::Group(group) => visit(&group.elem, events),
        Type::Paren(paren) => visit(&paren.elem, events),
        Type::Tuple(tuple) => tuple.elems.iter().for_each(|part| visit(part, events)),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else {
                return;
            };
            match &last.arguments {
                PathArguments::None => {
                    if !events.contains(&output) {
                        events.push(output);
                    }
                }
                PathArguments::AngleBracketed(arguments) => {
                    let mut types = arguments.args.iter().filter_map(|argument| match argument {
                        GenericArgument::Type(of) => Some(of),
                        _ => None,
                    });
                    // The first one holds what follows: the second of a `Result` is its error.
                    if let Some(first) = types.next() {
                        visit(first, events);
                    }
                }
                PathArguments::Parenthesized(_) => {}
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use quote::ToTokens;
    use syn::parse_quote;

    use super::*;

    fn collected(output: &ReturnType) -> Vec<String> {
        let events = collect(output).into_iter();
        events
            .map(|event| event.to_token_stream().to_string())
            .collect()
    }

    #[test]
    fn what_follows_is_found_wherever_it_is() {
        assert!(collected(&parse_quote!()).is_empty());
        assert!(collected(&parse_quote!(-> ())).is_empty());
        assert!(collected(&parse_quote!(-> Result<(), Error>)).is_empty());
        assert!(collected(&parse_quote!(-> impl IntoEffects)).is_empty());
        assert_eq!(collected(&parse_quote!(-> Paid)), ["Paid"]);
        assert_eq!(
            collected(
                &parse_quote!(-> Result<(Vec<Paid>, Option<orders::Late>, [Paid; 2]), Error>)
            ),
            ["Paid", "orders :: Late"]
        );
        assert_eq!(collected(&parse_quote!(-> Result<Reply<Quote>>)), ["Quote"]);
    }
}
