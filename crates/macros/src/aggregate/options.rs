//! The options of `#[aggregate]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Path, Type};

use crate::args::{Args, Known};
use crate::errors::Errors;
use crate::names;

const KNOWN: &[Known] = &[
    known("name", r#"name = "account""#),
    known("version", "version = 2"),
    known("snapshot_every", "snapshot_every = 100"),
    known("ignore", "ignore = [NoteAdded]"),
];

const fn known(name: &'static str, example: &'static str) -> Known {
    Known { name, example }
}

/// What `#[aggregate(…)]` says.
pub(super) struct Options {
    name: String,
    version: Option<u16>,
    snapshot_every: Option<u32>,
    /// The types of events that mean nothing to it.
    pub(super) ignore: Vec<Path>,
}

impl Options {
    /// Reads them; the name is that of `aggregate` unless it is said.
    pub(super) fn read(arguments: TokenStream, aggregate: &Type, errors: &mut Errors) -> Self {
        let args = Args::read("#[aggregate]", arguments, KNOWN, errors);
        let version = args.get("version");
        let snapshot_every = args.get("snapshot_every");
        let ignore = args.get("ignore");
        Self {
            name: read_name(&args, aggregate, errors),
            version: version.and_then(|arg| errors.keep(arg.number(1..=u16::MAX))),
            snapshot_every: snapshot_every.and_then(|arg| errors.keep(arg.number(0..=1_000_000))),
            ignore: ignore
                .and_then(|arg| errors.keep(arg.elements("a list of types of events")))
                .unwrap_or_default(),
        }
    }

    /// The constants that they set.
    pub(super) fn expand(&self) -> TokenStream {
        let name = &self.name;
        let version = self.version.map(|it| quote!(const VERSION: u16 = #it;));
        let every = self.snapshot_every;
        let every = every.map(|it| quote!(const SNAPSHOT_EVERY: u32 = #it;));
        quote! {
            const NAME: &'static str = #name;
            #version
            #every
        }
    }
}

fn read_name(args: &Args, aggregate: &Type, errors: &mut Errors) -> String {
    if let Some(arg) = args.get("name") {
        let name = errors.keep(arg.text()).map(|text| text.value());
        let name = name.unwrap_or_default();
        if let Err(reason) = names::check_aggregate(&name) {
            errors.add(arg.error(reason));
        }
        return name;
    }
    let ident = match aggregate {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    };
    let name = ident.map(|ident| names::kebab_case(&ident.to_string()));
    name.filter(|name| names::check_aggregate(name).is_ok())
        .unwrap_or_else(|| {
            errors.at(
                aggregate,
                "the name of this type cannot name an aggregate: give it one with `#[aggregate(name = \
                 \"account\")]`",
            );
            String::new()
        })
}
