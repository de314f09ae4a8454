//! Attributes that mark a method for the macro on its `impl` block: `#[on]`, `#[apply]`.

use syn::Attribute;

/// Whether an attribute is this mark, by its name alone or by `ensue::` and its name.
pub(crate) fn is(attribute: &Attribute, mark: &str) -> bool {
    let path = attribute.path();
    let mut segments = path.segments.iter().map(|segment| &segment.ident);
    match (segments.next(), segments.next(), segments.next()) {
        (Some(name), None, None) => name == mark,
        (Some(ensue), Some(name), None) => ensue == "ensue" && name == mark,
        _ => false,
    }
}
