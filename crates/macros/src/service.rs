//! `#[service]` and the `#[on]` methods in it.

mod method;
mod options;
mod publishes;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Attribute, ImplItem, Item, ItemImpl, Type};

use self::method::Method;
use self::options::ServiceOptions;
use crate::errors::Errors;
use crate::{marker, names};

/// The block as it is without its `#[on]`s, and the implementation of `Service`.
pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let mut block = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Impl(block)) if block.trait_.is_none() => block,
        Ok(other) => {
            errors.at(
                signature_of(&other),
                "`#[service]` goes on the `impl` block of a type, for instance `#[service] impl \
                 Payments { … }`: its `#[on]` methods are the handlers",
            );
            let errors = errors.into_tokens();
            return quote!(#errors #item);
        }
        Err(error) => {
            let error = error.to_compile_error();
            return quote!(#error #item);
        }
    };
    let methods = take_methods(&mut block, &mut errors);
    let options = ServiceOptions::read(arguments, &mut errors);
    let name = read_name(&options, &block, &mut errors);
    refuse_duplicates(&methods, &mut errors);
    let handlers: Vec<TokenStream> = if errors.is_empty() {
        methods
            .iter()
            .flat_map(|method| method.expand(&options))
            .collect()
    } else {
        // Without handlers but still a service, so that every use of it does not become an error.
        Vec::new()
    };
    let errors = errors.into_tokens();
    let service = implement(&block, &name, &options, &handlers);
    quote!(#errors #block #service)
}

/// What an `#[on]` outside a service becomes.
pub(crate) fn misplaced_on(item: TokenStream) -> TokenStream {
    let error = syn::Error::new(
        Span::call_site(),
        "`#[on]` marks a handler of a service: put `#[service]` on the `impl` block around it",
    )
    .to_compile_error();
    quote!(#error #item)
}

fn signature_of(item: &Item) -> TokenStream {
    match item {
        Item::Impl(block) => block
            .trait_
            .as_ref()
            .map_or_else(TokenStream::new, |(_, path, _)| path.to_token_stream()),
        Item::Struct(item) => item.ident.to_token_stream(),
        Item::Enum(item) => item.ident.to_token_stream(),
        Item::Fn(item) => item.sig.ident.to_token_stream(),
        Item::Mod(item) => item.ident.to_token_stream(),
        Item::Trait(item) => item.ident.to_token_stream(),
        other => other.to_token_stream(),
    }
}

fn take_methods(block: &mut ItemImpl, errors: &mut Errors) -> Vec<Method> {
    let before = errors.is_empty();
    let mut methods = Vec::new();
    let mut is_marked = false;
    for item in &mut block.items {
        let attributes = match item {
            ImplItem::Fn(function) => &mut function.attrs,
            ImplItem::Const(constant) => &mut constant.attrs,
            ImplItem::Type(alias) => &mut alias.attrs,
            _ => continue,
        };
        let marks: Vec<Attribute> = attributes
            .extract_if(.., |attribute| marker::is(attribute, "on"))
            .collect();
        let [mark, more @ ..] = marks.as_slice() else {
            continue;
        };
        is_marked = true;
        for again in more {
            errors.at(again, "a handler has one `#[on]`: merge their options");
        }
        match item {
            ImplItem::Fn(function) => methods.extend(Method::read(mark, function, errors)),
            _ => errors.at(mark, "`#[on]` marks a method"),
        }
    }
    if !is_marked && before {
        let service = &block.self_ty;
        errors.at(
            service,
            format!(
                "the service `{}` handles nothing: mark at least one method with `#[on]`, for \
                 instance `#[on] async fn charge(&self, order: OrderCreated) -> OrderPaid {{ … }}`",
                service.to_token_stream()
            ),
        );
    }
    methods
}

fn read_name(options: &ServiceOptions, block: &ItemImpl, errors: &mut Errors) -> String {
    if let Some(arg) = options.args.get("name") {
        let name = errors.keep(arg.text()).map(|text| text.value());
        let name = name.unwrap_or_default();
        if let Err(reason) = names::check_service(&name) {
            errors.add(arg.error(reason));
        }
        return name;
    }
    let ident = match &*block.self_ty {
        Type::Path(path) => path.path.segments.last().map(|segment| &segment.ident),
        _ => None,
    };
    let name = ident.map(|ident| names::kebab_case(&ident.to_string()));
    name.filter(|name| names::check_service(name).is_ok())
        .unwrap_or_else(|| {
            errors.at(
                &block.self_ty,
                "the name of this type cannot name a service: give it one with `#[service(name = \
                 \"payments\")]`",
            );
            String::new()
        })
}

fn refuse_duplicates(methods: &[Method], errors: &mut Errors) {
    for (at, method) in methods.iter().enumerate() {
        let earlier = methods.iter().take(at);
        for earlier in earlier {
            if let Some((tokens, event)) = method.takes_also(earlier) {
                errors.at(
                    tokens,
                    format!(
                        "`{}` takes {event} already, and a service handles each event once: merge \
                         the two methods, or move one of them to a service of its own",
                        earlier.name()
                    ),
                );
                break;
            }
        }
    }
}

fn implement(
    block: &ItemImpl,
    name: &str,
    options: &ServiceOptions,
    handlers: &[TokenStream],
) -> TokenStream {
    let options = options.expand();
    let conditions = block.attrs.iter().filter(|attribute| is_cfg(attribute));
    let service = &block.self_ty;
    let (generics, _, bounds) = block.generics.split_for_impl();
    // With names of the macro's own: the handlers' code refers to this `self`.
    quote_spanned! {Span::mixed_site()=>
        #(#conditions)*
        #[automatically_derived]
        impl #generics ::ensue::Service for #service #bounds {
            const NAME: &'static str = #name;

            fn handlers(self: ::std::sync::Arc<Self>) -> ::std::vec::Vec<::ensue::Handler> {
                ::core::convert::From::from([#(#handlers),*])
            }

            #options
        }
    }
}

/// Whether the attribute decides if its item exists.
fn is_cfg(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
}
